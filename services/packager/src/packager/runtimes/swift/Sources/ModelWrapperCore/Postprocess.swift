/// Outputs to predictions.
extension Pipeline {
    /// The model's outputs, by name and of batch 1, to predictions, best first.
    ///
    /// Classification lists `topK` classes. Objects are those whose score is above `confidenceThreshold`, at most
    /// `maxDetections`; `iouThreshold` suppresses, also behind a graph that suppresses itself (whose own thresholds bound what
    /// can be asked for) and behind one that has no need of it, such as DETR's. Semantic segmentation gives one prediction a
    /// class, the largest first, at most `maxDetections`. Where the score is not what predictions are chosen by (classes,
    /// regions), a `confidenceThreshold` given here leaves out those not above it. What is not given is the metadata's.
    /// Throws `invalid_request` for an option out of range or without meaning for this model, `metadata_unsupported` if the
    /// outputs are not as described, `answer_too_large` for masks too large to be given.
    public func postprocess(
        _ outputs: [String: FloatArray], _ geometry: Geometry, _ options: PredictionOptions = PredictionOptions()
    ) throws -> [Prediction] {
        let kind = post.decoder.traits.kind
        try Pipeline.checkOptions(options, kind)
        let raw = try wanted(outputs)
        switch kind {
        case .classes:
            return try classesOf(raw, options)
        case .objects:
            return try objectsOf(raw, geometry, options)
        case .regions:
            return try regionsOf(raw, geometry, options)
        }
    }

    /// The outputs that the decoder reads, in the order of `output_spec`.
    private func wanted(_ outputs: [String: FloatArray]) throws -> [FloatArray] {
        return try outputNames.prefix(post.decoder.traits.outputs).map { name in
            guard let output = outputs[name] else {
                throw ProcessingError.metadata("output_spec", "the model gave \(outputs.keys.sorted()), not \(name)")
            }
            return output
        }
    }

    /// The likeliest classes of a picture.
    private func classesOf(_ raw: [FloatArray], _ options: PredictionOptions) throws -> [Prediction] {
        let scores = try Classifiers.decode(post.decoder, raw[0])
        var best = Array(descending(scores).prefix(options.topK ?? post.topK))
        if let threshold = options.confidenceThreshold {
            best = best.filter { scores[$0] > Float(threshold) }
        }
        return best.map { index in
            Prediction(
                classId: index,
                className: className(index),
                confidence: Double(scores[index]),
                bbox: nil,
                rotatedBox: nil,
                keypoints: nil,
                mask: nil)
        }
    }

    /// The objects in a picture, with what their task adds to a box.
    private func objectsOf(_ raw: [FloatArray], _ geometry: Geometry, _ options: PredictionOptions) throws -> [Prediction] {
        let model = Model(classes: classes.count, keypointShape: post.keypointShape, inputSize: resize.size)
        let confidence = options.confidenceThreshold ?? post.confidence
        guard let found = try Decoders.decode(post.decoder, raw, model, confidence) else {
            return []
        }
        let outside = post.nmsEnabled && !post.nmsEmbedded
        let isRotated = post.decoder.traits.rotated
        let kept = Objects.choose(
            found,
            isRotated: isRotated,
            iou: options.iouThreshold ?? (outside ? post.iou : nil),
            limit: options.maxDetections ?? post.maxDetections,
            agnostic: post.classAgnostic)
        return try Objects.predictions(found.take(kept), geometry, self, isRotated: isRotated)
    }

    /// The classes of a picture's pixels.
    private func regionsOf(_ raw: [FloatArray], _ geometry: Geometry, _ options: PredictionOptions) throws -> [Prediction] {
        var found = try Regions.regions(raw[0], geometry.source)
        if let threshold = options.confidenceThreshold {
            found = found.filter { $0.confidence > threshold }
        }
        return found.prefix(options.maxDetections ?? post.maxDetections).map { region in
            Prediction(
                classId: region.classId,
                className: className(region.classId),
                confidence: region.confidence,
                bbox: region.bbox,
                rotatedBox: nil,
                keypoints: nil,
                mask: region.mask)
        }
    }

    /// Throws for an option out of range, or one that means nothing for this kind of model.
    static func checkOptions(_ options: PredictionOptions, _ kind: Kind) throws {
        try checkFraction("confidence_threshold", options.confidenceThreshold)
        try checkFraction("iou_threshold", options.iouThreshold)
        try checkCount("max_detections", options.maxDetections)
        try checkCount("top_k", options.topK)
        if kind == .classes && options.maxDetections != nil {
            throw ProcessingError.option("max_detections", "is for detectors; use top_k")
        }
        if kind != .objects && options.iouThreshold != nil {
            throw ProcessingError.option("iou_threshold", "is for detectors")
        }
        if kind != .classes && options.topK != nil {
            throw ProcessingError.option("top_k", "is for classifiers; use max_detections")
        }
    }

    private static func checkFraction(_ name: String, _ value: Double?) throws {
        if let number = value, !(number >= 0 && number <= 1) {
            throw ProcessingError.option(name, "must be from 0 to 1, not \(number)")
        }
    }

    private static func checkCount(_ name: String, _ value: Int?) throws {
        if let number = value, number < 1 {
            throw ProcessingError.option(name, "must be at least 1, not \(number)")
        }
    }
}
