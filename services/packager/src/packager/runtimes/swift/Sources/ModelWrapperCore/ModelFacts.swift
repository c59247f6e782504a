/// What metadata.json says of the model file itself, for the runtime that loads it.
public struct ModelFacts: Equatable, Sendable {
    /// Such as `coreml` or `onnx`.
    public let exportFormat: String
    /// How many pictures the model takes at once; any number where it is -1.
    public let batch: Int
    /// The processors that a Core ML model was made for.
    public let computeUnits: String

    /// The largest number of pictures that a model can be made for.
    static let maxBatch = 1024

    /// Throws `metadata_unsupported` naming the field that is missing or of another kind.
    public init(metadata: JSON) throws {
        let root = Section(values: metadata, path: "")
        exportFormat = try root.section("model_info").text("export_format")
        batch = try ModelFacts.readBatch(try root.section("input_spec"))
        let made = try root.section("provenance").section("export_options")
        computeUnits = try made.has("compute_units") ? made.text("compute_units") : "all"
    }

    private static func readBatch(_ input: Section) throws -> Int {
        guard let first = input.values["shape"]?.asArray?.first, let count = first.asInteger,
            count == -1 || (count >= 1 && count <= maxBatch)
        else {
            throw ProcessingError.metadata(input.field("shape"), "must begin with -1 or 1 to \(maxBatch) pictures")
        }
        return count
    }
}
