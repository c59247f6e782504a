import Foundation

/// What is wrong with a package, a picture, an option or an answer: which field, and what would work.
public struct ProcessingError: Error, Equatable, Sendable {
    /// Stable: `metadata_unsupported`, `image_unreadable`, `image_too_large`, `invalid_request`, `answer_too_large`,
    /// `golden_vectors_unreadable`, `runtime_unavailable` or `closed`.
    public let code: String
    /// The path of the field, such as `preprocessing.resize.kernel`, where one is to blame.
    public let field: String?
    /// A sentence for people.
    public let message: String

    /// metadata.json, or a model that contradicts it.
    public static func metadata(_ field: String, _ reason: String) -> ProcessingError {
        return ProcessingError(
            code: "metadata_unsupported", field: field, message: "metadata.json, \(field): \(reason)")
    }

    /// A picture that cannot be read.
    public static func unreadable(_ reason: String) -> ProcessingError {
        return ProcessingError(code: "image_unreadable", field: nil, message: reason)
    }

    /// A picture that is too large.
    public static func tooLarge(_ reason: String) -> ProcessingError {
        return ProcessingError(code: "image_too_large", field: nil, message: reason)
    }

    /// An option of one call that is out of range or means nothing for this model.
    public static func option(_ field: String, _ reason: String) -> ProcessingError {
        return ProcessingError(code: "invalid_request", field: field, message: "\(field): \(reason)")
    }

    /// An answer too large to be given; the message says what makes it smaller.
    public static func answer(_ reason: String) -> ProcessingError {
        return ProcessingError(code: "answer_too_large", field: nil, message: reason)
    }

    /// golden_vectors.safetensors.
    public static func goldens(_ reason: String) -> ProcessingError {
        return ProcessingError(
            code: "golden_vectors_unreadable", field: nil, message: "golden_vectors.safetensors \(reason)")
    }

    /// A model that was let go of.
    public static func closed() -> ProcessingError {
        return ProcessingError(code: "closed", field: nil, message: "this model was closed")
    }

    /// The model's runtime is not here, or cannot run on this machine; the message says what is needed.
    public static func backend(_ reason: String) -> ProcessingError {
        return ProcessingError(code: "runtime_unavailable", field: nil, message: reason)
    }
}

extension ProcessingError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? {
        return message
    }

    public var description: String {
        return message
    }
}
