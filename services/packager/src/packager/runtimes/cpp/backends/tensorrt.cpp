/// TensorRT, or TensorRT-RTX, on the first GPU (https://docs.nvidia.com/deeplearning/tensorrt), one call at a time. An engine runs on
/// the kind of GPU and with the release that built it.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <mutex>

#include "backends/backend.h"

namespace modelport {

namespace {

class Logger final : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kERROR) std::fprintf(stderr, "TensorRT: %s\n", message);
    }
};

void succeed(cudaError_t status) {
    if (status != cudaSuccess) throw BackendError(std::string("CUDA: ") + cudaGetErrorString(status));
}

/// Memory of the GPU.
class GpuBytes {
public:
    explicit GpuBytes(std::size_t size) { succeed(cudaMalloc(&data_, size > 0 ? size : 1)); }
    GpuBytes(const GpuBytes&) = delete;
    GpuBytes& operator=(const GpuBytes&) = delete;
    ~GpuBytes() { cudaFree(data_); }

    void* get() const { return data_; }

private:
    void* data_ = nullptr;
};

class TensorRt final : public Backend {
public:
    TensorRt(const std::filesystem::path& model, Facts facts) : facts_(std::move(facts)) {
        int devices = 0;
        if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < 1) {
            throw BackendError("a TensorRT engine needs an NVIDIA GPU and its driver, which are not here");
        }
        std::ifstream file(model, std::ios::binary);
        const std::vector<char> plan{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        if (runtime_) engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        if (engine_) context_.reset(engine_->createExecutionContext());
        if (!context_) throw BackendError("TensorRT on this GPU cannot read an engine that was built for another");
    }

    Outputs run(const Tensor& tensor) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto [data, size] = bytes_of(tensor);
        const GpuBytes input(size);
        succeed(cudaMemcpy(input.get(), data, size, cudaMemcpyHostToDevice));
        if (!context_->setInputShape(facts_.input_name.c_str(), dims_of(tensor.shape)) ||
            !context_->setTensorAddress(facts_.input_name.c_str(), input.get())) {
            throw BackendError("the engine does not take an input \"" + facts_.input_name + "\" of " + to_string(tensor.shape));
        }
        std::vector<Shape> shapes;
        std::vector<std::unique_ptr<GpuBytes>> places;
        for (const std::string& name : facts_.output_names) {
            shapes.push_back(output_shape(name));
            places.push_back(std::make_unique<GpuBytes>(static_cast<std::size_t>(elements(shapes.back())) * sizeof(float)));
            context_->setTensorAddress(name.c_str(), places.back()->get());
        }
        if (!context_->enqueueV3(nullptr)) throw BackendError("TensorRT could not run the model");
        succeed(cudaDeviceSynchronize());
        Outputs made;
        for (std::size_t i = 0; i < places.size(); ++i) {
            Array& array = made[facts_.output_names[i]];
            array.values.resize(static_cast<std::size_t>(elements(shapes[i])));
            array.shape = shapes[i];
            succeed(cudaMemcpy(array.values.data(), places[i]->get(), array.values.size() * sizeof(float), cudaMemcpyDeviceToHost));
        }
        return made;
    }

private:
    static nvinfer1::Dims dims_of(const Shape& shape) {
        nvinfer1::Dims dims{};
        dims.nbDims = static_cast<std::int32_t>(shape.size());
        for (std::size_t i = 0; i < shape.size(); ++i) dims.d[i] = shape[i];
        return dims;
    }

    Shape output_shape(const std::string& name) const {
        if (engine_->getTensorIOMode(name.c_str()) != nvinfer1::TensorIOMode::kOUTPUT) {
            throw MetadataError("output_spec", "names \"" + name + "\", which the model does not give");
        }
        if (engine_->getTensorDataType(name.c_str()) != nvinfer1::DataType::kFLOAT) {
            throw BackendError("the engine's output \"" + name + "\" is not float32");
        }
        const nvinfer1::Dims dims = context_->getTensorShape(name.c_str());
        const Shape shape(dims.d, dims.d + (dims.nbDims > 0 ? dims.nbDims : 0));
        if (dims.nbDims < 0 || elements(shape) < 0) throw BackendError("the size of the output \"" + name + "\" is not known");
        return shape;
    }

    Facts facts_;
    std::mutex mutex_;
    // In this order: each is destroyed before what it was made from.
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const std::filesystem::path& model, const Facts& facts) {
    return std::make_unique<TensorRt>(model, facts);
}

std::vector<std::string> backend_formats() { return {"tensorrt"}; }

}  // namespace modelport
