/// ONNX Runtime on the CPU (https://onnxruntime.ai/docs/get-started/with-cpp.html).
#include <onnxruntime_cxx_api.h>

#include "backends/backend.h"

namespace modelport {

namespace {

std::vector<const char*> pointers(const std::vector<std::string>& names) {
    std::vector<const char*> made;
    for (const std::string& name : names) made.push_back(name.c_str());
    return made;
}

Array array_of(const Ort::Value& value) {
    const auto info = value.GetTensorTypeAndShapeInfo();
    const std::vector<std::int64_t> sides = info.GetShape();
    const Shape shape(sides.begin(), sides.end());
    switch (info.GetElementType()) {
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return converted(shape, value.GetTensorData<float>());
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: return converted(shape, value.GetTensorData<double>());
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return converted(shape, value.GetTensorData<std::int64_t>());
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return converted(shape, value.GetTensorData<std::int32_t>());
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return converted(shape, value.GetTensorData<Ort::Float16_t>());
        default: throw BackendError("the model gave an output of ONNX's type " + std::to_string(info.GetElementType()));
    }
}

class OnnxRuntime final : public Backend {
public:
    OnnxRuntime(const std::filesystem::path& model, Facts facts)
        : facts_(std::move(facts)), env_(ORT_LOGGING_LEVEL_ERROR, "modelport"),
          session_(env_, model.c_str(), Ort::SessionOptions()) {}

    Outputs run(const Tensor& tensor) override {
        const std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
        const auto [data, size] = bytes_of(tensor);
        const auto type = tensor.is_bytes() ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        // The runtime reads an input and never writes to it, whatever the type of this parameter says.
        const auto input = Ort::Value::CreateTensor(memory, const_cast<void*>(data), size, shape.data(), shape.size(), type);
        const char* const input_name = facts_.input_name.c_str();
        const std::vector<const char*> names = pointers(facts_.output_names);
        try {
            const auto values = session_.Run(Ort::RunOptions(), &input_name, &input, 1, names.data(), names.size());
            std::vector<Array> arrays;
            for (const Ort::Value& value : values) arrays.push_back(array_of(value));
            return by_name(facts_.output_names, std::move(arrays));
        } catch (const Ort::Exception& error) {
            throw BackendError(std::string("ONNX Runtime cannot run the model: ") + error.what());
        }
    }

private:
    Facts facts_;
    Ort::Env env_;
    Ort::Session session_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts) {
    try {
        return std::make_unique<OnnxRuntime>(model, facts);
    } catch (const Ort::Exception& error) {
        throw BackendError(std::string("ONNX Runtime cannot load the model: ") + error.what());
    }
}

std::vector<std::string> backend_formats() { return {"onnx"}; }

}  // namespace modelport
