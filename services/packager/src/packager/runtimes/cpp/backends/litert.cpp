/// LiteRT (TensorFlow Lite) on the CPU, one call at a time; outputs are known by the names of the model's signature.
#include <mutex>

#include "backends/backend.h"
#include "backends/tflite_c_api.h"

namespace modelport {

namespace {

constexpr int TFLITE_OK = 0;
constexpr int TFLITE_FLOAT32 = 1, TFLITE_INT32 = 2, TFLITE_UINT8 = 3, TFLITE_INT64 = 4;

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

template <typename T>
Owned<T> owned(T* thing, void (*release)(T*), const char* what) {
    if (thing == nullptr) throw BackendError(std::string("LiteRT cannot ") + what);
    return {thing, release};
}

void succeed(int status, const char* what) {
    if (status != TFLITE_OK) throw BackendError(std::string("LiteRT cannot ") + what);
}

Array array_of(const TfLiteTensor* tensor) {
    Shape shape;
    for (std::int32_t axis = 0; axis < TfLiteTensorNumDims(tensor); ++axis) shape.push_back(TfLiteTensorDim(tensor, axis));
    const void* data = TfLiteTensorData(tensor);
    const int type = TfLiteTensorType(tensor);
    if (type == TFLITE_FLOAT32) return converted(std::move(shape), static_cast<const float*>(data));
    if (type == TFLITE_INT32) return converted(std::move(shape), static_cast<const std::int32_t*>(data));
    if (type == TFLITE_INT64) return converted(std::move(shape), static_cast<const std::int64_t*>(data));
    throw BackendError("the model gave an output of LiteRT's type " + std::to_string(type));
}

class LiteRt final : public Backend {
public:
    LiteRt(const std::filesystem::path& model, Facts facts)
        : facts_(std::move(facts)),
          model_(owned(TfLiteModelCreateFromFile(model.string().c_str()), TfLiteModelDelete, "load the model")),
          interpreter_(opened(model_.get())), runner_(signed_by(interpreter_.get())) {
        if (TfLiteSignatureRunnerGetInputCount(runner_.get()) != 1) throw BackendError("the model's signature needs one input");
        input_name_ = TfLiteSignatureRunnerGetInputName(runner_.get(), 0);
    }

    Outputs run(const Tensor& tensor) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        resize(tensor.shape);
        const auto [data, size] = bytes_of(tensor);
        TfLiteTensor* const input = TfLiteSignatureRunnerGetInputTensor(runner_.get(), input_name_.c_str());
        if (TfLiteTensorType(input) != (tensor.is_bytes() ? TFLITE_UINT8 : TFLITE_FLOAT32)) {
            throw BackendError("the model takes an input of another type than its metadata says");
        }
        succeed(TfLiteTensorCopyFromBuffer(input, data, size), "take the tensor");
        succeed(TfLiteSignatureRunnerInvoke(runner_.get()), "run the model");
        Outputs made;
        for (const std::string& name : facts_.output_names) {
            const TfLiteTensor* const output = TfLiteSignatureRunnerGetOutputTensor(runner_.get(), name.c_str());
            if (output == nullptr) throw MetadataError("output_spec", "names \"" + name + "\", which the model did not give");
            made[name] = array_of(output);
        }
        return made;
    }

private:
    static Owned<TfLiteInterpreter> opened(const TfLiteModel* model) {
        const auto options = owned(TfLiteInterpreterOptionsCreate(), TfLiteInterpreterOptionsDelete, "make its options");
        return owned(TfLiteInterpreterCreate(model, options.get()), TfLiteInterpreterDelete, "understand the model");
    }

    static Owned<TfLiteSignatureRunner> signed_by(TfLiteInterpreter* interpreter) {
        if (TfLiteInterpreterGetSignatureCount(interpreter) != 1) throw BackendError("the model needs one signature");
        const char* const key = TfLiteInterpreterGetSignatureKey(interpreter, 0);
        return owned(TfLiteInterpreterGetSignatureRunner(interpreter, key), TfLiteSignatureRunnerDelete, "read the signature");
    }

    void resize(const Shape& shape) {
        if (shape == shape_) return;
        const std::vector<int> sides(shape.begin(), shape.end());
        const auto count = static_cast<std::int32_t>(sides.size());
        succeed(TfLiteSignatureRunnerResizeInputTensor(runner_.get(), input_name_.c_str(), sides.data(), count), "take this size");
        succeed(TfLiteSignatureRunnerAllocateTensors(runner_.get()), "allocate the model's tensors");
        shape_ = shape;
    }

    Facts facts_;
    std::mutex mutex_;
    // In this order: each is destroyed before what it was made from.
    Owned<TfLiteModel> model_;
    Owned<TfLiteInterpreter> interpreter_;
    Owned<TfLiteSignatureRunner> runner_;
    std::string input_name_;
    Shape shape_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts) {
    return std::make_unique<LiteRt>(model, facts);
}

std::vector<std::string> backend_formats() { return {"tflite"}; }

}  // namespace modelport
