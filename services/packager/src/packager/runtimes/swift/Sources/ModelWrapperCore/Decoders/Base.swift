/// What a prediction is: a class of the whole picture, an object with a box, or all pixels of a class.
public enum Kind: String, Sendable {
    case classes
    case objects
    case regions
}

/// The facts of a decoder that metadata is checked for, and how many outputs it reads.
struct Traits {
    let kind: Kind
    var outputs = 1
    var rotated = false
    var masks = false
    var keypoints = false
}

/// `postprocessing.decoder` of metadata.json; the outputs are taken in the order of `output_spec`.
public enum DecoderName: String, CaseIterable, Sendable {
    case softmax
    case probabilities
    case yoloV8 = "yolo_v8"
    case yoloV8Segment = "yolo_v8_segment"
    case yoloV8Pose = "yolo_v8_pose"
    case yoloV8Obb = "yolo_v8_obb"
    case yoloEnd2end = "yolo_end2end"
    case yoloEnd2endSegment = "yolo_end2end_segment"
    case yoloEnd2endPose = "yolo_end2end_pose"
    case yoloEnd2endObb = "yolo_end2end_obb"
    case detrSoftmax = "detr_softmax"
    case detrSigmoid = "detr_sigmoid"
    case semanticLogits = "semantic_logits"

    /// What a prediction of this decoder is.
    public var kind: Kind {
        return traits.kind
    }

    var traits: Traits {
        switch self {
        case .softmax, .probabilities:
            return Traits(kind: .classes)
        case .yoloV8, .yoloEnd2end:
            return Traits(kind: .objects)
        case .yoloV8Segment, .yoloEnd2endSegment:
            return Traits(kind: .objects, outputs: 2, masks: true)
        case .yoloV8Pose, .yoloEnd2endPose:
            return Traits(kind: .objects, keypoints: true)
        case .yoloV8Obb, .yoloEnd2endObb:
            return Traits(kind: .objects, rotated: true)
        case .detrSoftmax, .detrSigmoid:
            return Traits(kind: .objects, outputs: 2)
        case .semanticLogits:
            return Traits(kind: .regions, masks: true)
        }
    }
}

/// What a decoder has to know beside the outputs.
struct Model {
    let classes: Int
    let keypointShape: KeypointShape?
    let inputSize: ImageSize
}

/// Prototypes of all masks of a picture, [M, h, w].
struct Prototypes {
    let count: Int
    let height: Int
    let width: Int
    let values: [Float]
}

/// Candidates above the confidence, in input pixels.
struct Candidates {
    /// x1 y1 x2 y2; of rotated boxes cx cy w h angle.
    var boxes: [[Float]] = []
    var scores: [Float] = []
    var classes: [Int] = []
    var keypoints: [[Keypoint]]?
    /// Of the masks.
    var coefficients: [[Float]]?
    var prototypes: Prototypes?

    /// Those candidates alone, in that order.
    func take(_ rows: [Int]) -> Candidates {
        return Candidates(
            boxes: rows.map { boxes[$0] },
            scores: rows.map { scores[$0] },
            classes: rows.map { classes[$0] },
            keypoints: Candidates.chosen(keypoints, rows),
            coefficients: Candidates.chosen(coefficients, rows),
            prototypes: prototypes)
    }

    private static func chosen<Value>(_ all: [Value]?, _ rows: [Int]) -> [Value]? {
        guard let values = all else {
            return nil
        }
        return rows.map { values[$0] }
    }
}

/// What decoders share.
enum Decoders {
    /// Throws for another number of axes or pictures than one picture's output has.
    static func checkSingle(_ output: FloatArray, dimensions: Int) throws {
        if output.shape.count != dimensions || output.shape[0] != 1 {
            throw wrong("the output's shape is \(output.shape), not \(dimensions)-D of batch 1")
        }
    }

    /// The prototypes of an output [1, M, h, w].
    static func planes(_ output: FloatArray) throws -> Prototypes {
        try checkSingle(output, dimensions: 4)
        return Prototypes(
            count: output.shape[1], height: output.shape[2], width: output.shape[3], values: output.values)
    }

    /// The error for outputs that are not those of the decoder.
    static func wrong(_ reason: String) -> ProcessingError {
        return ProcessingError.metadata("postprocessing.decoder", reason)
    }

    /// cx cy w h to x1 y1 x2 y2.
    static func corners(_ centred: [Float]) -> [Float] {
        let halfWidth = centred[2] / 2
        let halfHeight = centred[3] / 2
        return [
            centred[0] - halfWidth, centred[1] - halfHeight, centred[0] + halfWidth, centred[1] + halfHeight,
        ]
    }

    /// The objects of the outputs whose score is above the confidence; nil for decoders of another kind.
    static func decode(_ name: DecoderName, _ raw: [FloatArray], _ model: Model, _ confidence: Double) throws
        -> Candidates?
    {
        let threshold = Float(confidence)
        switch name {
        case .yoloV8:
            return try Yolo.v8(raw[0], threshold)
        case .yoloV8Segment:
            return try Yolo.v8Segment(raw[0], raw[1], model, threshold)
        case .yoloV8Pose:
            return try Yolo.v8Pose(raw[0], model, threshold)
        case .yoloV8Obb:
            return try Yolo.v8Obb(raw[0], model, threshold)
        case .yoloEnd2end:
            return try Yolo.end2end(raw[0], threshold)
        case .yoloEnd2endSegment:
            return try Yolo.end2endSegment(raw[0], raw[1], threshold)
        case .yoloEnd2endPose:
            return try Yolo.end2endPose(raw[0], model, threshold)
        case .yoloEnd2endObb:
            return try Yolo.end2endObb(raw[0], threshold)
        case .detrSoftmax:
            return try Detr.softmax(raw[0], raw[1], model, threshold)
        case .detrSigmoid:
            return try Detr.sigmoid(raw[0], raw[1], model, threshold)
        case .softmax, .probabilities, .semanticLogits:
            return nil
        }
    }
}
