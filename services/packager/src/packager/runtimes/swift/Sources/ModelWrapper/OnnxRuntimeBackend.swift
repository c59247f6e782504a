#if canImport(OnnxRuntimeBindings)
import Foundation
import ModelWrapperCore
@preconcurrency import OnnxRuntimeBindings

/// ONNX Runtime on the CPU, whose sessions run on several threads at once.
///
/// `@unchecked Sendable`: the only state is the session, which the lock guards; ONNX Runtime documents `Run` as thread-safe.
final class OnnxRuntimeBackend: InferenceBackend, @unchecked Sendable {
    private let lock = NSLock()
    private let environment: ORTEnv
    private var session: ORTSession?
    private let inputName: String
    private let outputNames: [String]

    init(_ model: URL, inputName: String, outputNames: [String]) throws {
        let opened = try Backends.refusing("ONNX Runtime cannot start") {
            try ORTEnv(loggingLevel: ORTLoggingLevel.warning)
        }
        environment = opened
        session = try Backends.refusing("ONNX Runtime cannot load the model") {
            try ORTSession(env: opened, modelPath: model.path, sessionOptions: ORTSessionOptions())
        }
        self.inputName = inputName
        self.outputNames = outputNames
    }

    func run(_ tensor: Tensor) throws -> [String: FloatArray] {
        lock.lock()
        let opened = session
        lock.unlock()
        guard let running = opened else {
            throw ProcessingError.closed()
        }
        let answers = try Backends.refusing("ONNX Runtime cannot run the model") {
            try running.run(withInputs: [inputName: try input(tensor)], outputNames: Set(outputNames), runOptions: nil)
        }
        var outputs: [String: FloatArray] = [:]
        for name in outputNames {
            guard let answer = answers[name] else {
                throw ProcessingError.metadata("output_spec", "the model gave \(answers.keys.sorted()), not \(name)")
            }
            outputs[name] = try floats(answer, name)
        }
        return outputs
    }

    func close() {
        lock.lock()
        session = nil
        lock.unlock()
    }

    private func input(_ tensor: Tensor) throws -> ORTValue {
        let bytes = tensor.bytes
        let data = NSMutableData(bytes: bytes, length: bytes.count)
        let type = tensor.dtype == "uint8" ? ORTTensorElementDataType.uInt8 : ORTTensorElementDataType.float
        return try ORTValue(tensorData: data, elementType: type, shape: tensor.shape.map { NSNumber(value: $0) })
    }

    /// A copy of an output as float32.
    private func floats(_ value: ORTValue, _ name: String) throws -> FloatArray {
        let facts = try value.tensorTypeAndShapeInfo()
        let shape = facts.shape.map { $0.intValue }
        let data = try value.tensorData() as Data
        let numbers: [Float]
        switch facts.elementType {
        case .float:
            numbers = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        case .int32:
            numbers = data.withUnsafeBytes { $0.bindMemory(to: Int32.self).map { Float($0) } }
        case .int64:
            numbers = data.withUnsafeBytes { $0.bindMemory(to: Int64.self).map { Float($0) } }
        default:
            throw ProcessingError.metadata("output_spec", "\(name) holds no numbers that can be read here")
        }
        return FloatArray(shape: shape, values: numbers)
    }
}
#endif
