/// YOLO heads: one column an anchor, to be suppressed, or one row an object of a graph that needs no suppression.
///
/// After box and classes an anchor holds what its task adds: mask coefficients, keypoints or an angle. Numbers of a keypoint
/// lie together: x, y and, where there are three, its confidence.
enum Yolo {
    /// Candidates and the numbers that their task adds.
    private struct Found {
        var candidates = Candidates()
        var extra: [[Float]] = []
    }

    /// The highest score of an anchor and the class that has it.
    private struct Best {
        let score: Float
        let index: Int
    }

    /// [1, 4 + C, anchors]: centre x, centre y, width, height and C class scores per anchor; the best class counts.
    static func v8(_ output: FloatArray, _ confidence: Float) throws -> Candidates {
        let rows = output.shape.count == 3 ? output.shape[1] - 4 : 0
        var found = try anchors(output, max(rows, 1), 0, confidence).candidates
        found.boxes = found.boxes.map { Decoders.corners($0) }
        return found
    }

    /// [1, 4 + C + M, anchors], the last rows being coefficients of the prototypes [1, M, h, w].
    static func v8Segment(_ output: FloatArray, _ prototypes: FloatArray, _ model: Model, _ confidence: Float) throws
        -> Candidates
    {
        let planes = try Decoders.planes(prototypes)
        let all = try anchors(output, model.classes, planes.count, confidence)
        var found = all.candidates
        found.boxes = found.boxes.map { Decoders.corners($0) }
        found.coefficients = all.extra
        found.prototypes = planes
        return found
    }

    /// [1, 4 + C + points * dims, anchors].
    static func v8Pose(_ output: FloatArray, _ model: Model, _ confidence: Float) throws -> Candidates {
        let all = try anchors(output, model.classes, numbers(model), confidence)
        var found = all.candidates
        found.boxes = found.boxes.map { Decoders.corners($0) }
        found.keypoints = all.extra.map { keypoints($0, model) }
        return found
    }

    /// [1, 4 + C + 1, anchors], the last row being the angle in radians; boxes are cx cy w h angle.
    static func v8Obb(_ output: FloatArray, _ model: Model, _ confidence: Float) throws -> Candidates {
        let all = try anchors(output, model.classes, 1, confidence)
        var found = all.candidates
        found.boxes = zip(found.boxes, all.extra).map { $0 + $1 }
        return found
    }

    /// [1, K, 6]: x1 y1 x2 y2 score class, already suppressed or never in need of it.
    static func end2end(_ output: FloatArray, _ confidence: Float) throws -> Candidates {
        return try rows(output, 0, confidence).candidates
    }

    /// [1, K, 6 + M] and the prototypes [1, M, h, w].
    static func end2endSegment(_ output: FloatArray, _ prototypes: FloatArray, _ confidence: Float) throws -> Candidates {
        let planes = try Decoders.planes(prototypes)
        let all = try rows(output, planes.count, confidence)
        var found = all.candidates
        found.coefficients = all.extra
        found.prototypes = planes
        return found
    }

    /// [1, K, 6 + points * dims].
    static func end2endPose(_ output: FloatArray, _ model: Model, _ confidence: Float) throws -> Candidates {
        let all = try rows(output, numbers(model), confidence)
        var found = all.candidates
        found.keypoints = all.extra.map { keypoints($0, model) }
        return found
    }

    /// [1, K, 7]: cx cy w h score class angle.
    static func end2endObb(_ output: FloatArray, _ confidence: Float) throws -> Candidates {
        let all = try rows(output, 1, confidence)
        var found = all.candidates
        found.boxes = zip(found.boxes, all.extra).map { $0 + $1 }
        return found
    }

    /// Anchors whose best class is above the confidence, as cx cy w h, and the `extra` numbers of each.
    private static func anchors(_ output: FloatArray, _ classes: Int, _ extra: Int, _ confidence: Float) throws -> Found {
        try Decoders.checkSingle(output, dimensions: 3)
        if output.shape[1] != 4 + classes + extra {
            throw Decoders.wrong("needs [1, 4 + \(classes) classes + \(extra), anchors], got \(output.shape)")
        }
        let count = output.shape[2]
        var found = Found()
        for anchor in 0..<count {
            let best = bestClass(output.values, start: 4 * count + anchor, stride: count, classes: classes)
            if best.score > confidence {
                let column = (0..<output.shape[1]).map { output.values[$0 * count + anchor] }
                found.candidates.boxes.append(Array(column[0..<4]))
                found.candidates.scores.append(best.score)
                found.candidates.classes.append(best.index)
                found.extra.append(Array(column[(4 + classes)...]))
            }
        }
        return found
    }

    /// The highest of the scores and which it is, the first among equals; NaN where one is.
    private static func bestClass(_ values: [Float], start: Int, stride: Int, classes: Int) -> Best {
        var score = values[start]
        var index = 0
        for candidate in 1..<max(classes, 1) {
            let value = values[start + candidate * stride]
            if value > score || value.isNaN {
                score = value
                index = candidate
            }
        }
        return Best(score: score, index: index)
    }

    /// Rows whose score is above the confidence, and the `extra` numbers of each.
    private static func rows(_ output: FloatArray, _ extra: Int, _ confidence: Float) throws -> Found {
        try Decoders.checkSingle(output, dimensions: 3)
        let width = output.shape[2]
        if width != 6 + extra {
            throw Decoders.wrong("needs [1, K, 6 + \(extra)], got \(output.shape)")
        }
        var found = Found()
        for start in stride(from: 0, to: output.shape[1] * width, by: width) {
            let score = output.values[start + 4]
            if score > confidence {
                found.candidates.boxes.append(Array(output.values[start..<(start + 4)]))
                found.candidates.scores.append(score)
                found.candidates.classes.append(truncated(output.values[start + 5]))
                found.extra.append(Array(output.values[(start + 6)..<(start + width)]))
            }
        }
        return found
    }

    private static func numbers(_ model: Model) -> Int {
        guard let shape = model.keypointShape else {
            return 0
        }
        return shape.points * shape.dims
    }

    private static func keypoints(_ extra: [Float], _ model: Model) -> [Keypoint] {
        guard let shape = model.keypointShape else {
            return []
        }
        return (0..<shape.points).map { point in
            let start = point * shape.dims
            return Keypoint(
                x: Double(extra[start]),
                y: Double(extra[start + 1]),
                confidence: shape.dims > 2 ? Double(extra[start + 2]) : 1.0)
        }
    }
}
