/// LibTorch on the CPU (https://docs.pytorch.org/cppdocs); a TorchScript model's outputs have an order, the metadata names them.
#include <torch/script.h>

#include "backends/backend.h"

namespace modelport {

namespace {

Array array_of(const at::Tensor& tensor) {
    const at::Tensor dense = tensor.to(at::kCPU, at::kFloat).contiguous();
    return converted(Shape(dense.sizes().begin(), dense.sizes().end()), dense.const_data_ptr<float>());
}

class LibTorch final : public Backend {
public:
    LibTorch(const std::filesystem::path& model, Facts facts)
        : facts_(std::move(facts)), module_(torch::jit::load(model.string(), at::kCPU)) {
        module_.eval();
    }

    Outputs run(const Tensor& tensor) override {
        const c10::InferenceMode guard;
        const std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
        // The model reads its input and never writes to it, whatever the type of this parameter says.
        void* const data = const_cast<void*>(bytes_of(tensor).first);
        try {
            const c10::IValue output = module_.forward({torch::from_blob(data, shape, tensor.is_bytes() ? at::kByte : at::kFloat)});
            std::vector<Array> arrays;
            if (output.isTensor()) {
                arrays.push_back(array_of(output.toTensor()));
            } else if (output.isTuple()) {
                for (const c10::IValue& part : output.toTupleRef().elements()) arrays.push_back(array_of(part.toTensor()));
            } else {
                for (const c10::IValue& part : output.toListRef()) arrays.push_back(array_of(part.toTensor()));
            }
            return by_name(facts_.output_names, std::move(arrays));
        } catch (const c10::Error& error) {
            throw BackendError(std::string("LibTorch cannot run the model: ") + error.what_without_backtrace());
        }
    }

private:
    Facts facts_;
    torch::jit::Module module_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts) {
    try {
        return std::make_unique<LibTorch>(model, facts);
    } catch (const c10::Error& error) {
        throw BackendError(std::string("LibTorch cannot load the model: ") + error.what_without_backtrace());
    }
}

std::vector<std::string> backend_formats() { return {"torchscript"}; }

}  // namespace modelport
