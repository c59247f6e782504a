"""What can be wrong with a package, a picture or an option; each error says which field and what would work."""

from __future__ import annotations


class ProcessingError(ValueError):
    """Base of all errors of this package; `code` is stable, `str()` is a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class MetadataError(ProcessingError):
    """metadata.json, or a model that contradicts it; `field` is a path such as `preprocessing.resize.kernel`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("metadata_unsupported", f"metadata.json, {field}: {message}")
        self.field = field


class ImageError(ProcessingError):
    """A picture; `code` is `image_unreadable` or `image_too_large`."""


class OptionError(ProcessingError):
    """A threshold or limit of one call that is out of range or means nothing for this model."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("invalid_request", f"{field}: {message}")
        self.field = field


class AnswerError(ProcessingError):
    """An answer too large to be given, or too long to be computed; the message says what makes it smaller."""

    def __init__(self, message: str) -> None:
        super().__init__("answer_too_large", message)


class GoldenError(ProcessingError):
    """A file of golden vectors that cannot be read or understood."""

    def __init__(self, message: str) -> None:
        super().__init__("golden_vectors_unreadable", f"golden_vectors.safetensors {message}")
