/// golden_vectors.safetensors: examples that a wrapper of any language repeats.
///
/// A safetensors file (https://github.com/huggingface/safetensors#format): eight bytes of header length, a JSON header with dtype,
/// shape and place of each array, then their bytes, little-endian. `__metadata__.vectors` is a JSON text with the lists
/// preprocess, postprocess and model.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "processing/arrays.h"
#include "processing/section.h"

namespace modelport {

/// A picture by arithmetic alone, the same in every language; `noise` or `ramp`. Throws GoldenError for another pattern or size.
Picture draw(const std::string& pattern, Index height, Index width, std::uint32_t seed);

/// What a tensor is recognised by.
struct Fingerprint {
    std::string dtype;
    Shape shape;
    /// Eight hex digits, of the little-endian bytes.
    std::string crc32;
};

Fingerprint fingerprint(const Tensor& tensor);

/// The vectors and the arrays that they name.
class Goldens {
public:
    /// Throws GoldenError for anything else than such a file.
    explicit Goldens(const std::filesystem::path& file);

    const Json& vectors() const { return vectors_; }

    /// An array of numbers, whatever their type, as float32; throws GoldenError where there is none.
    Array numbers(const std::string& name) const;

    /// An array uint8 [height, width, 3]; throws GoldenError where there is none.
    Picture picture(const std::string& name) const;

private:
    struct Stored {
        std::string dtype;
        Shape shape;
        std::size_t begin = 0;
    };

    void add(const std::string& name, const Json& entry, std::size_t base);
    const Stored& stored(const std::string& name) const;

    Json vectors_;
    Bytes data_;
    std::map<std::string, Stored> arrays_;
};

}  // namespace modelport
