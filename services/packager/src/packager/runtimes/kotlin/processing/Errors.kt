package modelport.processing

/** What can be wrong with a package, a picture or an option; each message says which field and what would work. */
sealed class ProcessingError(
    /** Stable, for programs; the message is a sentence for people. */
    val code: String,
    message: String,
    cause: Throwable? = null,
) : RuntimeException(message, cause)

/** metadata.json, or a model that contradicts it; [field] is a path such as `preprocessing.resize.kernel`. */
class MetadataError(val field: String, message: String) :
    ProcessingError("metadata_unsupported", "metadata.json, $field: $message")

/** A picture; [code] is `image_unreadable` or `image_too_large`. */
class ImageError(code: String, message: String, cause: Throwable? = null) : ProcessingError(code, message, cause)

/** A threshold or limit of one call that is out of range or means nothing for this model. */
class OptionError(val field: String, message: String) : ProcessingError("invalid_request", "$field: $message")

/** An answer too large to be given; the message says what makes it smaller. */
class AnswerError(message: String) : ProcessingError("answer_too_large", message)

/** The model's runtime is not here, or refuses the model; the message says what is needed. */
class BackendError(message: String, cause: Throwable? = null) :
    ProcessingError("runtime_unavailable", message, cause)

/** A file of golden vectors that cannot be read or understood. */
class GoldenError(message: String) :
    ProcessingError("golden_vectors_unreadable", "golden_vectors.safetensors $message")

/** A model that was closed and is asked for more. */
class ClosedError : ProcessingError("closed", "this model was closed")
