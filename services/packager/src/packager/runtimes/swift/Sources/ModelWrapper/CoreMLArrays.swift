#if canImport(CoreML)
import CoreML
import CoreVideo
import Foundation
import ModelWrapperCore

/// Tensors as Core ML takes them, and its outputs as numbers.
enum CoreMLArrays {
    /// Pixels uint8 [1, h, w, 3] as a 32-bit BGRA picture, which Core ML brings into the order that the model declares.
    static func pixelBuffer(_ tensor: Tensor) throws -> CVPixelBuffer {
        guard case .uint8(let pixels) = tensor.values, tensor.shape.count == 4, tensor.shape[3] == 3 else {
            throw ProcessingError.metadata("input_spec", "the model takes a picture, metadata.json gives \(tensor.dtype)")
        }
        let height = tensor.shape[1]
        let width = tensor.shape[2]
        var made: CVPixelBuffer?
        CVPixelBufferCreate(kCFAllocatorDefault, width, height, kCVPixelFormatType_32BGRA, nil, &made)
        guard let buffer = made else {
            throw ProcessingError.backend("there is no memory for a picture of \(width) x \(height) pixels")
        }
        CVPixelBufferLockBaseAddress(buffer, [])
        defer {
            CVPixelBufferUnlockBaseAddress(buffer, [])
        }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw ProcessingError.backend("there is no memory for a picture of \(width) x \(height) pixels")
        }
        let stride = CVPixelBufferGetBytesPerRow(buffer)
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        for y in 0..<height {
            for x in 0..<width {
                let source = (y * width + x) * 3
                let target = y * stride + x * 4
                bytes[target] = pixels[source + 2]
                bytes[target + 1] = pixels[source + 1]
                bytes[target + 2] = pixels[source]
                bytes[target + 3] = 255
            }
        }
        return buffer
    }

    /// The tensor as float32, whose elements lie in row-major order in a new array.
    static func multiArray(_ tensor: Tensor) throws -> MLMultiArray {
        let array = try MLMultiArray(shape: tensor.shape.map { NSNumber(value: $0) }, dataType: .float32)
        let numbers = array.dataPointer.assumingMemoryBound(to: Float32.self)
        switch tensor.values {
        case .float32(let values):
            for (index, value) in values.enumerated() {
                numbers[index] = value
            }
        case .uint8(let values):
            for (index, value) in values.enumerated() {
                numbers[index] = Float(value)
            }
        }
        return array
    }

    /// A copy of an output in row-major order, whatever its strides and its type are.
    static func floats(_ array: MLMultiArray, _ name: String) throws -> FloatArray {
        let shape = array.shape.map { $0.intValue }
        let places = offsets(shape, array.strides.map { $0.intValue })
        let base = array.dataPointer
        let values: [Float]
        switch array.dataType {
        case .float32:
            let numbers = base.assumingMemoryBound(to: Float32.self)
            values = places.map { numbers[$0] }
        case .float16:
            let numbers = base.assumingMemoryBound(to: UInt16.self)
            values = places.map { FloatArray.half(numbers[$0]) }
        case .double:
            let numbers = base.assumingMemoryBound(to: Double.self)
            values = places.map { Float(numbers[$0]) }
        case .int32:
            let numbers = base.assumingMemoryBound(to: Int32.self)
            values = places.map { Float(numbers[$0]) }
        default:
            throw ProcessingError.metadata("output_spec", "\(name) holds numbers of a type that cannot be read here")
        }
        return FloatArray(shape: shape, values: values)
    }

    /// Where each element lies, counted in elements; rows may be padded.
    static func offsets(_ shape: [Int], _ strides: [Int]) -> [Int] {
        var places = [0]
        for (side, stride) in zip(shape, strides) {
            places = places.flatMap { start in (0..<side).map { start + $0 * stride } }
        }
        return places
    }
}
#endif
