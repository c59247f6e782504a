/// OpenVINO on the CPU (https://docs.openvino.ai/2026/openvino-workflow/running-inference.html), in float32 arithmetic whatever
/// the processor could do with less.
#include <openvino/openvino.hpp>

#include "backends/backend.h"

namespace modelport {

namespace {

Array array_of(const ov::Tensor& tensor) {
    const ov::Shape sides = tensor.get_shape();
    const Shape shape(sides.begin(), sides.end());
    const ov::element::Type type = tensor.get_element_type();
    if (type == ov::element::f32) return converted(shape, tensor.data<const float>());
    if (type == ov::element::f16) return converted(shape, tensor.data<const ov::float16>());
    if (type == ov::element::i64) return converted(shape, tensor.data<const std::int64_t>());
    if (type == ov::element::i32) return converted(shape, tensor.data<const std::int32_t>());
    throw BackendError("the model gave an output of OpenVINO's type " + type.get_type_name());
}

class OpenVino final : public Backend {
public:
    OpenVino(const std::filesystem::path& model, Facts facts)
        : facts_(std::move(facts)),
          compiled_(core_.compile_model(model.string(), "CPU", ov::hint::inference_precision(ov::element::f32))) {}

    Outputs run(const Tensor& tensor) override {
        const ov::Shape shape(tensor.shape.begin(), tensor.shape.end());
        const ov::element::Type type = tensor.is_bytes() ? ov::element::u8 : ov::element::f32;
        // The runtime reads an input and never writes to it, whatever the type of this parameter says.
        const ov::Tensor input(type, shape, const_cast<void*>(bytes_of(tensor).first));
        try {
            ov::InferRequest request = compiled_.create_infer_request();
            request.set_input_tensor(input);
            request.infer();
            std::vector<Array> arrays;
            for (std::size_t i = 0; i < compiled_.outputs().size(); ++i) arrays.push_back(array_of(request.get_output_tensor(i)));
            return by_name(facts_.output_names, std::move(arrays));
        } catch (const ov::Exception& error) {
            throw BackendError(std::string("OpenVINO cannot run the model: ") + error.what());
        }
    }

private:
    Facts facts_;
    ov::Core core_;
    ov::CompiledModel compiled_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts) {
    try {
        return std::make_unique<OpenVino>(model, facts);
    } catch (const ov::Exception& error) {
        throw BackendError(std::string("OpenVINO cannot load the model: ") + error.what());
    }
}

std::vector<std::string> backend_formats() { return {"openvino", "onnx"}; }

}  // namespace modelport
