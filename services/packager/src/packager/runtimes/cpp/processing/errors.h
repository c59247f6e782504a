/// What can be wrong with a package, a picture or an option; each error says which field and what would work.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace modelport {

/// Base of all errors of this wrapper; `code()` is stable, `what()` is a sentence for people.
class Error : public std::runtime_error {
public:
    Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}

    const std::string& code() const noexcept { return code_; }

private:
    std::string code_;
};

/// An error about one field.
class FieldError : public Error {
public:
    FieldError(std::string code, std::string field, const std::string& message)
        : Error(std::move(code), message), field_(std::move(field)) {}

    const std::string& field() const noexcept { return field_; }

private:
    std::string field_;
};

/// metadata.json, or a model that contradicts it; `field()` is a path such as `preprocessing.resize.kernel`.
class MetadataError : public FieldError {
public:
    MetadataError(const std::string& field, const std::string& message)
        : FieldError("metadata_unsupported", field, "metadata.json, " + field + ": " + message) {}
};

/// A threshold or limit of one call that is out of range or means nothing for this model.
class OptionError : public FieldError {
public:
    OptionError(const std::string& field, const std::string& message)
        : FieldError("invalid_request", field, field + ": " + message) {}
};

/// A picture; `code()` is `image_unreadable` or `image_too_large`.
class ImageError : public Error {
public:
    using Error::Error;
};

/// An answer too large to be given, or too long to be computed; the message says what makes it smaller.
class AnswerError : public Error {
public:
    explicit AnswerError(const std::string& message) : Error("answer_too_large", message) {}
};

/// A file of golden vectors that cannot be read or understood.
class GoldenError : public Error {
public:
    explicit GoldenError(const std::string& message)
        : Error("golden_vectors_unreadable", "golden_vectors.safetensors " + message) {}
};

/// The model's runtime cannot load or run it on this machine; the message says what is needed.
class BackendError : public Error {
public:
    explicit BackendError(const std::string& message) : Error("runtime_unavailable", message) {}
};

}  // namespace modelport
