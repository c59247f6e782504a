import Foundation
import ModelWrapperCore

/// A program that runs a model: a tensor in, outputs by name out. May be called from several threads at once.
protocol InferenceBackend: Sendable {
    func run(_ tensor: Tensor) throws -> [String: FloatArray]

    /// Let go of the model; later runs throw.
    func close()
}

/// The runtimes that this build has.
enum Backends {
    /// Throws where the format's runtime is not in this build, or the model cannot be loaded.
    static func load(_ model: URL, _ facts: ModelFacts, _ pipeline: Pipeline) throws -> any InferenceBackend {
        guard FileManager.default.fileExists(atPath: model.path) else {
            throw CocoaError(.fileReadNoSuchFile, userInfo: [NSFilePathErrorKey: model.path])
        }
        switch facts.exportFormat {
        case "coreml":
            return try coreML(model, facts.computeUnits, pipeline)
        case "onnx":
            return try onnxRuntime(model, pipeline)
        default:
            throw ProcessingError.metadata("model_info.export_format", "\(facts.exportFormat) is unknown; known: coreml, onnx")
        }
    }

    /// What a runtime throws, told as `runtime_unavailable`; errors of this code stay what they are.
    static func refusing<Value>(_ what: String, _ action: () throws -> Value) throws -> Value {
        do {
            return try action()
        } catch {
            throw (error as? ProcessingError) ?? ProcessingError.backend("\(what): \(error.localizedDescription)")
        }
    }

    private static func coreML(_ model: URL, _ units: String, _ pipeline: Pipeline) throws -> any InferenceBackend {
        #if canImport(CoreML)
        return try CoreMLBackend(model, units: units, inputName: pipeline.inputName, outputNames: pipeline.outputNames)
        #else
        throw ProcessingError.backend("a Core ML model runs on macOS and iOS; this machine has neither")
        #endif
    }

    private static func onnxRuntime(_ model: URL, _ pipeline: Pipeline) throws -> any InferenceBackend {
        #if canImport(OnnxRuntimeBindings)
        return try OnnxRuntimeBackend(model, inputName: pipeline.inputName, outputNames: pipeline.outputNames)
        #else
        throw ProcessingError.backend(
            "ONNX Runtime's Swift package runs on macOS and iOS; add onnxruntime-swift-package-manager to Package.swift")
        #endif
    }
}
