/// Candidates to objects: which are kept, and how what belongs to them gets back into the picture.
enum Objects {
    /// Indices to keep, best first, at most `limit`; nothing is suppressed where `iou` is nil.
    static func choose(_ found: Candidates, isRotated: Bool, iou: Double?, limit: Int, agnostic: Bool) -> [Int] {
        guard let threshold = iou else {
            return Array(descending(found.scores).prefix(limit))
        }
        if isRotated {
            return Rotated.suppress(found, iou: Float(threshold), limit: limit, agnostic: agnostic)
        }
        return NMS.suppress(found, iou: Float(threshold), limit: limit, agnostic: agnostic)
    }

    /// In source pixels; an object whose mask is empty is none, as the trainer has it.
    static func predictions(_ found: Candidates, _ geometry: Geometry, _ pipeline: Pipeline, isRotated: Bool) throws
        -> [Prediction]
    {
        let turned: [[Float]]? = isRotated ? found.boxes.map { geometry.rotatedToSource($0) } : nil
        let upright: [[Float]] = turned?.map { Rotated.enclosing($0) } ?? found.boxes.map { geometry.toSource($0) }
        var masks: [Mask?]?
        if let coefficients = found.coefficients, let prototypes = found.prototypes {
            masks = try Instances.masks(coefficients, prototypes, upright, geometry.source)
        }
        var made: [Prediction] = []
        for row in found.scores.indices {
            let mask = masks?[row] ?? nil
            if masks != nil && mask == nil {
                continue
            }
            let points = found.keypoints?[row].map { geometry.pointToSource($0) }
            made.append(
                Prediction(
                    classId: found.classes[row],
                    className: pipeline.className(found.classes[row]),
                    confidence: Double(found.scores[row]),
                    bbox: boundingBox(upright[row]),
                    rotatedBox: rotatedBox(turned, row),
                    keypoints: points,
                    mask: mask))
        }
        return made
    }

    private static func boundingBox(_ box: [Float]) -> BoundingBox {
        return BoundingBox(x1: Double(box[0]), y1: Double(box[1]), x2: Double(box[2]), y2: Double(box[3]))
    }

    private static func rotatedBox(_ boxes: [[Float]]?, _ row: Int) -> RotatedBox? {
        guard let box = boxes?[row] else {
            return nil
        }
        return RotatedBox(
            centerX: Double(box[0]),
            centerY: Double(box[1]),
            width: Double(box[2]),
            height: Double(box[3]),
            angle: Double(box[4]))
    }
}
