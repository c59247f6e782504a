import Foundation

/// `(u8 * scale - mean) / std`; `embedded`: the graph does it and takes uint8.
public struct Normalize: Equatable, Sendable {
    public let scale: Double
    public let mean: [Double]
    public let std: [Double]
    public let embedded: Bool
}

/// The order of a tensor's axes.
public enum Layout: String, CaseIterable, Sendable {
    case nchw = "NCHW"
    case nhwc = "NHWC"
}

/// The order of a tensor's channels.
public enum ColorSpace: String, CaseIterable, Sendable {
    case rgb = "RGB"
    case bgr = "BGR"
}

/// Layout, colour order, and whether EXIF orientation is applied to pictures.
public struct TensorFormat: Equatable, Sendable {
    public let layout: Layout
    public let colorSpace: ColorSpace
    public let exif: Bool
}

/// Decoder and default thresholds; `nmsEmbedded`: the graph suppresses, its thresholds bound what can be asked for.
public struct Post: Equatable, Sendable {
    public let decoder: DecoderName
    public let confidence: Double
    public let iou: Double
    public let maxDetections: Int
    public let nmsEnabled: Bool
    public let nmsEmbedded: Bool
    public let classAgnostic: Bool
    public let topK: Int
    public let keypointShape: KeypointShape?
}

/// Points of an object, and numbers per point.
public struct KeypointShape: Equatable, Sendable {
    public let points: Int
    public let dims: Int
}

/// metadata.json read into structs; what this code does not know is refused by the name of its field.
enum Spec {
    static let schemaVersion = 1
    static let maxSide = 4096
    static let maxDetections = 3000
    static let maxTopK = 1000
    static let maxPoints = 1000
    static let maxInteger = 2_147_483_648

    /// Throws for any schema but v1.
    static func checkVersion(_ root: Section) throws {
        let value = try root.needed("schema_version")
        guard value == JSON.number(Double(schemaVersion)) else {
            throw root.unknown("schema_version", value, known: [String(schemaVersion)])
        }
    }

    /// `preprocessing.resize`.
    static func readResize(_ pre: Section) throws -> Resize {
        let part = try pre.section("resize")
        return Resize(
            method: try part.oneOf("method"),
            size: try part.size("size"),
            kernel: try part.oneOf("kernel"),
            resizeTo: try part.sizeOrNil("resize_to"),
            fillValue: UInt8(try part.integer("fill_value", default: 114, from: 0, to: 255)),
            scaleUp: try part.flag("scale_up", default: true),
            center: try part.flag("center", default: true),
            cropOffset: try part.oneOf("crop_offset", default: CropOffset.round))
    }

    /// `preprocessing.normalize`.
    static func readNormalize(_ pre: Section) throws -> Normalize {
        let part = try pre.section("normalize")
        try part.expect("method", among: ["standard"], default: "standard")
        let std = try part.triple("std", default: [1.0, 1.0, 1.0])
        if std.contains(0.0) {
            throw ProcessingError.metadata(part.field("std"), "must not be zero")
        }
        return Normalize(
            scale: try part.number("scale", default: 1.0 / 255.0),
            mean: try part.triple("mean", default: [0.0, 0.0, 0.0]),
            std: std,
            embedded: try part.flag("embedded", default: false))
    }

    /// `preprocessing.format`; the tensor is uint8 exactly where the graph normalises.
    static func readFormat(_ pre: Section, embedded: Bool) throws -> TensorFormat {
        let part = try pre.section("format")
        let dtype = embedded ? "uint8" : "float32"
        try part.expect("input_layout", among: ["HWC"], default: "HWC")
        try part.expect("dtype", among: [dtype], default: dtype)
        let exif = try part.expect("exif_orientation", among: ["applied", "ignored"], default: "applied")
        return TensorFormat(
            layout: try part.oneOf("output_layout", default: Layout.nchw),
            colorSpace: try part.oneOf("color_space", default: ColorSpace.rgb),
            exif: exif == "applied")
    }

    /// `postprocessing`, and what its decoder asks of the rest.
    static func readPost(_ root: Section) throws -> Post {
        let part = try root.section("postprocessing")
        let nms = try part.section("nms")
        return Post(
            decoder: try part.oneOf("decoder"),
            confidence: try nms.number("confidence_threshold", default: 0.25, from: 0, to: 1),
            iou: try nms.number("iou_threshold", default: 0.45, from: 0, to: 1),
            maxDetections: try nms.integer("max_detections", default: 300, from: 1, to: maxDetections),
            nmsEnabled: try nms.flag("enabled", default: false),
            nmsEmbedded: try nms.flag("embedded", default: false),
            classAgnostic: try nms.flag("class_agnostic", default: false),
            topK: try part.integer("top_k", default: 5, from: 1, to: maxTopK),
            keypointShape: try keypointShape(part))
    }

    private static func keypointShape(_ part: Section) throws -> KeypointShape? {
        guard part.has("keypoint_shape") else {
            return nil
        }
        let pair = try part.elements("keypoint_shape", count: 2, what: "[points, numbers per point]")
        return KeypointShape(
            points: try pair.integer("0", from: 1, to: maxPoints),
            dims: try pair.integer("1", from: 2, to: 3))
    }

    /// Throws where the decoder needs what the rest of the metadata does not give.
    static func checkDecoder(_ post: Post, resize: Resize, outputs: [String]) throws {
        let traits = post.decoder.traits
        let name = post.decoder.rawValue
        if outputs.count < traits.outputs {
            throw ProcessingError.metadata("output_spec", "\(name) needs \(traits.outputs) outputs, not \(outputs.count)")
        }
        if traits.keypoints && post.keypointShape == nil {
            throw ProcessingError.metadata("postprocessing.keypoint_shape", "is missing, which \(name) needs")
        }
        let centred = resize.method == .letterbox && resize.center && resize.scaleUp
        if traits.masks && traits.kind == .objects && !centred {
            throw ProcessingError.metadata(
                "preprocessing.resize", "\(name) needs a centred letterbox that may enlarge")
        }
    }

    /// Class id to name.
    static func readClasses(_ root: Section) throws -> [Int: String] {
        guard let entries = root.values["classes"]?.asArray else {
            throw ProcessingError.metadata("classes", "must be a list")
        }
        var names: [Int: String] = [:]
        for (index, entry) in entries.enumerated() {
            let part = Section(values: entry, path: "classes[\(index)]")
            let id = try part.integer("id", from: 0, to: maxInteger)
            names[id] = try part.text("name")
        }
        return names
    }

    /// Names of the model's outputs, in the order of `output_spec`.
    static func readOutputs(_ root: Section) throws -> [String] {
        let part = try root.section("output_spec")
        let members = part.values.asMembers ?? []
        if members.isEmpty {
            throw ProcessingError.metadata("output_spec", "must name at least one output")
        }
        return try members.map { try part.section($0.key).text("name") }
    }
}
