import Foundation

/// Outputs of classifiers to probabilities.
enum Classifiers {
    /// The probability of each class; logits [1, C] of a softmax decoder become some.
    static func decode(_ name: DecoderName, _ output: FloatArray) throws -> [Float] {
        try Decoders.checkSingle(output, dimensions: 2)
        return name == .softmax ? softmax(output.values) : output.values
    }

    /// Logits to probabilities.
    static func softmax(_ logits: [Float]) -> [Float] {
        let highest = logits.reduce(-Float.infinity) { greater($0, $1) }
        let exponents = logits.map { exp($0 - highest) }
        let sum = exponents.reduce(0, +)
        return exponents.map { $0 / sum }
    }
}
