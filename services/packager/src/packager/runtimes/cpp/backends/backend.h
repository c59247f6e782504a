/// What runs a model: a tensor in, outputs by name out. A build has exactly one of the files beside this one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "processing/arrays.h"
#include "processing/errors.h"

namespace modelport {

/// What metadata.json says of the model's tensors.
struct Facts {
    std::string input_name;
    std::vector<std::string> output_names;
};

/// A loaded model.
class Backend {
public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    /// Safe to call from several threads at once. Throws BackendError where the runtime cannot run the model.
    virtual Outputs run(const Tensor& tensor) = 0;
};

/// Loads the model; throws BackendError where the runtime cannot.
std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts);

/// Values of `model_info.export_format` that this build runs.
std::vector<std::string> backend_formats();

/// Outputs that come in the order of the metadata.
Outputs by_name(const std::vector<std::string>& names, std::vector<Array> outputs);

/// Numbers of another type as float32.
template <typename T>
Array converted(Shape shape, const T* values) {
    const Index count = elements(shape);
    if (count < 0) throw BackendError("the model gave an output of the shape " + to_string(shape));
    Array made{std::move(shape), Floats(static_cast<std::size_t>(count))};
    for (std::size_t i = 0; i < made.values.size(); ++i) made.values[i] = static_cast<float>(values[i]);
    return made;
}

/// The pixels or numbers of a tensor, and how many bytes they are.
inline std::pair<const void*, std::size_t> bytes_of(const Tensor& tensor) {
    if (const Bytes* bytes = std::get_if<Bytes>(&tensor.values)) return {bytes->data(), bytes->size()};
    const Floats& floats = std::get<Floats>(tensor.values);
    return {floats.data(), floats.size() * sizeof(float)};
}

}  // namespace modelport
