/// What a call asks for; nil stands for what the metadata says.
public struct PredictionOptions: Equatable, Sendable {
    /// 0 to 1: predictions not above it are left out.
    public var confidenceThreshold: Double?
    /// 0 to 1, for detectors: a box goes if it overlaps a better one of its class by more.
    public var iouThreshold: Double?
    /// At least 1, for detectors and segmentation.
    public var maxDetections: Int?
    /// At least 1, for classifiers: how many classes are listed.
    public var topK: Int?

    public init(
        confidenceThreshold: Double? = nil, iouThreshold: Double? = nil, maxDetections: Int? = nil, topK: Int? = nil
    ) {
        self.confidenceThreshold = confidenceThreshold
        self.iouThreshold = iouThreshold
        self.maxDetections = maxDetections
        self.topK = topK
    }
}

/// What metadata.json says about one model, ready to run: a value without state, safe to share between threads.
public struct Pipeline: Sendable {
    public let resize: Resize
    public let normalize: Normalize
    public let format: TensorFormat
    public let post: Post
    public let classes: [Int: String]
    public let inputName: String
    public let outputNames: [String]
    public let modelFile: String
    /// For each channel, in the tensor's order, the normalised value of each byte.
    let table: [[Float]]

    /// Read a metadata.json; throws `metadata_unsupported` naming the field and what would work.
    public init(metadata: JSON) throws {
        let root = Section(values: metadata, path: "")
        try Spec.checkVersion(root)
        let pre = try root.section("preprocessing")
        normalize = try Spec.readNormalize(pre)
        resize = try Spec.readResize(pre)
        post = try Spec.readPost(root)
        outputNames = try Spec.readOutputs(root)
        try Spec.checkDecoder(post, resize: resize, outputs: outputNames)
        format = try Spec.readFormat(pre, embedded: normalize.embedded)
        classes = try Spec.readClasses(root)
        inputName = try root.section("input_spec").text("name")
        modelFile = try root.text("model_file")
        table = Pipeline.normalizationTable(normalize)
    }

    /// A picture to the model's tensor of batch 1, and the geometry that `postprocess` needs.
    ///
    /// The tensor is float32 [1, 3, h, w] (or [1, h, w, 3] where the metadata says NHWC), uint8 where the graph normalises.
    public func preprocess(_ image: RGBImage) throws -> (Tensor, Geometry) {
        let (fitted, geometry) = try Placing.fit(image, resize)
        return (tensor(fitted), geometry)
    }

    /// The geometry of a picture of that size.
    public func locate(_ source: ImageSize) throws -> Geometry {
        return try Placing.locate(source, resize).1
    }

    /// Colour order, normalisation and layout of a picture that already has the model's size.
    func tensor(_ fitted: RGBImage) -> Tensor {
        let order = format.colorSpace == .bgr ? [2, 1, 0] : [0, 1, 2]
        let isPlanar = format.layout == .nchw
        let shape = isPlanar ? [1, 3, fitted.height, fitted.width] : [1, fitted.height, fitted.width, 3]
        if normalize.embedded {
            let bytes = arranged(fitted.size.area, isPlanar) { place, channel in
                fitted.pixels[place * 3 + order[channel]]
            }
            return Tensor(shape: shape, values: .uint8(bytes))
        }
        let numbers = arranged(fitted.size.area, isPlanar) { place, channel in
            table[channel][Int(fitted.pixels[place * 3 + order[channel]])]
        }
        return Tensor(shape: shape, values: .float32(numbers))
    }

    /// The values of all pixels and channels in the order of the tensor.
    private func arranged<Value>(_ area: Int, _ isPlanar: Bool, _ value: (Int, Int) -> Value) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(area * 3)
        if isPlanar {
            for channel in 0..<3 {
                for place in 0..<area {
                    values.append(value(place, channel))
                }
            }
        } else {
            for place in 0..<area {
                for channel in 0..<3 {
                    values.append(value(place, channel))
                }
            }
        }
        return values
    }

    /// `(float32(byte * scale) - mean) / std`.
    ///
    /// The product is taken in double precision and rounded once, which makes it equal, to the bit, to the division by 255 of
    /// torchvision, timm and Ultralytics; difference and quotient are float32.
    static func normalizationTable(_ normalize: Normalize) -> [[Float]] {
        return (0..<3).map { channel in
            let mean = Float(normalize.mean[channel])
            let std = Float(normalize.std[channel])
            return (0..<256).map { byte in
                let scaled = Float(Double(byte) * normalize.scale)
                return (scaled - mean) / std
            }
        }
    }

    /// The class's name; a class that the metadata does not list is called by its number.
    public func className(_ classId: Int) -> String {
        return classes[classId] ?? String(classId)
    }
}
