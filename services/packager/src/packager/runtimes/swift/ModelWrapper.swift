import Foundation
@_exported import ModelWrapperCore

/// A loaded model: pictures in, predictions out, exactly as metadata.json says.
///
///     let model = try ModelWrapper()
///     for found in try model.predict(contentsOf: URL(fileURLWithPath: "picture.jpg")) {
///         print(found.className, found.confidence, found.bbox as Any)
///     }
///
/// Every method but `close` may be called from several threads at once; a Core ML model runs one call at a time. Models are
/// loaded when a wrapper is made, so make one and keep it, and call it outside the main thread.
public final class ModelWrapper: Predictor, Sendable {
    /// The unpacked package that these sources lie in; an app names the files in its bundle instead.
    public static let packageFolder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent()

    public let metadata: JSON
    public let pipeline: Pipeline
    private let backend: any InferenceBackend
    private let batch: Int

    /// Load a model and its metadata.json, by default those of the package that these sources lie in.
    ///
    /// `model` is the file that metadata.json names, beside it, where it is not given; for Core ML also the `.mlmodelc` that Xcode
    /// makes of it. Throws what Foundation throws for a missing file, and ProcessingError: `metadata_unsupported` for metadata
    /// that this code does not understand, `runtime_unavailable` where the model's runtime is not here or refuses the model.
    public init(model: URL? = nil, metadata: URL? = nil) throws {
        let file = metadata ?? ModelWrapper.packageFolder.appendingPathComponent("metadata.json")
        let facts = try Files.metadata(file)
        let known = try Pipeline(metadata: facts)
        let place = model ?? file.deletingLastPathComponent().appendingPathComponent(known.modelFile)
        let made = try ModelFacts(metadata: facts)
        batch = made.batch
        backend = try Backends.load(place, made, known)
        self.metadata = facts
        pipeline = known
    }

    /// A picture to the model's tensor of batch 1, and the geometry that `postprocess` needs to find back into it.
    public func preprocess(_ image: RGBImage) throws -> (Tensor, Geometry) {
        return try pipeline.preprocess(image)
    }

    /// The model alone: its input tensor of batch 1 to its outputs by name.
    public func run(_ tensor: Tensor) throws -> [String: FloatArray] {
        guard tensor.shape.first == 1 else {
            throw ProcessingError.option("tensor", "the shape \(tensor.shape) is not that of one picture")
        }
        if batch <= 1 {
            return try backend.run(tensor)
        }
        return try backend.run(tensor.repeated(batch)).mapValues { $0.first() }
    }

    /// One picture's outputs to predictions, best first; see `Pipeline.postprocess` for the options.
    public func postprocess(
        _ outputs: [String: FloatArray], _ geometry: Geometry, _ options: PredictionOptions = PredictionOptions()
    ) throws -> [Prediction] {
        return try pipeline.postprocess(outputs, geometry, options)
    }

    /// The predictions of one picture, best first.
    public func predict(_ image: RGBImage, _ options: PredictionOptions = PredictionOptions()) throws -> [Prediction] {
        let (tensor, geometry) = try preprocess(image)
        return try postprocess(run(tensor), geometry, options)
    }

    /// The predictions of each picture, whatever their sizes are; one after the other.
    public func predictBatch(_ images: [RGBImage], _ options: PredictionOptions = PredictionOptions()) throws
        -> [[Prediction]]
    {
        return try images.map { try predict($0, options) }
    }

    /// Let go of the model's memory, which the end of the wrapper's life does too; later calls throw `closed`.
    public func close() {
        backend.close()
    }
}

#if canImport(ImageIO)
extension ModelWrapper {
    /// The predictions of a JPEG, PNG, HEIC or other file, turned upright by its EXIF tag where the metadata says so.
    public func predict(contentsOf url: URL, _ options: PredictionOptions = PredictionOptions()) throws -> [Prediction] {
        return try predict(RGBImage(contentsOf: url, isTurned: pipeline.format.exif), options)
    }
}
#endif
