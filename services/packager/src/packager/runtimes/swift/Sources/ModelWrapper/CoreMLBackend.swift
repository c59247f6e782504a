#if canImport(CoreML)
import CoreML
import Foundation
import ModelWrapperCore

/// Core ML on the processors that the export asked for, one call at a time.
///
/// `@unchecked Sendable`: the model is used under the lock alone, as Apple demands of callers on several threads.
final class CoreMLBackend: InferenceBackend, @unchecked Sendable {
    private static let units: [String: MLComputeUnits] = [
        "all": .all,
        "cpu_only": .cpuOnly,
        "cpu_and_gpu": .cpuAndGPU,
        "cpu_and_ne": .cpuAndNeuralEngine,
    ]

    private let lock = NSLock()
    private var model: MLModel?
    private let inputName: String
    private let outputNames: [String]

    /// A `.mlpackage` is compiled first, which takes seconds; Xcode makes a `.mlmodelc` of one that is part of an app.
    init(_ file: URL, units: String, inputName: String, outputNames: [String]) throws {
        guard let processors = CoreMLBackend.units[units] else {
            let known = CoreMLBackend.units.keys.sorted().joined(separator: ", ")
            throw ProcessingError.metadata(
                "provenance.export_options.compute_units", "\(units) is unknown; known: \(known)")
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = processors
        model = try Backends.refusing("Core ML cannot load the model") {
            try MLModel(contentsOf: CoreMLBackend.compiled(file), configuration: configuration)
        }
        self.inputName = inputName
        self.outputNames = outputNames
    }

    private static func compiled(_ file: URL) throws -> URL {
        if file.pathExtension == "mlmodelc" {
            return file
        }
        return try MLModel.compileModel(at: file)
    }

    func run(_ tensor: Tensor) throws -> [String: FloatArray] {
        lock.lock()
        defer {
            lock.unlock()
        }
        guard let running = model else {
            throw ProcessingError.closed()
        }
        let answers = try Backends.refusing("Core ML cannot run the model") {
            let given = try MLDictionaryFeatureProvider(dictionary: [inputName: try input(tensor, running)])
            return try running.prediction(from: given)
        }
        var outputs: [String: FloatArray] = [:]
        for name in outputNames {
            guard let array = answers.featureValue(for: name)?.multiArrayValue else {
                throw ProcessingError.metadata("output_spec", "names \(name), the model gave \(answers.featureNames)")
            }
            outputs[name] = try CoreMLArrays.floats(array, name)
        }
        return outputs
    }

    func close() {
        lock.lock()
        model = nil
        lock.unlock()
    }

    /// A picture where the model takes one, an array of numbers elsewhere.
    private func input(_ tensor: Tensor, _ running: MLModel) throws -> MLFeatureValue {
        let description = running.modelDescription.inputDescriptionsByName[inputName]
        if description?.type == .image {
            return MLFeatureValue(pixelBuffer: try CoreMLArrays.pixelBuffer(tensor))
        }
        return MLFeatureValue(multiArray: try CoreMLArrays.multiArray(tensor))
    }
}
#endif
