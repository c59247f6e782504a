/// The functions of TensorFlow Lite's C API that the wrapper calls, declared here because many builds of the library come
/// without headers. They are stable and documented at https://ai.google.dev/edge/api/tflite/c.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct TfLiteModel;
struct TfLiteInterpreterOptions;
struct TfLiteInterpreter;
struct TfLiteSignatureRunner;
struct TfLiteTensor;

TfLiteModel* TfLiteModelCreateFromFile(const char* path);
void TfLiteModelDelete(TfLiteModel* model);

TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate();
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions* options);

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel* model, const TfLiteInterpreterOptions* options);
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter);
std::int32_t TfLiteInterpreterGetSignatureCount(const TfLiteInterpreter* interpreter);
const char* TfLiteInterpreterGetSignatureKey(const TfLiteInterpreter* interpreter, std::int32_t index);
TfLiteSignatureRunner* TfLiteInterpreterGetSignatureRunner(const TfLiteInterpreter* interpreter, const char* key);

std::size_t TfLiteSignatureRunnerGetInputCount(const TfLiteSignatureRunner* runner);
const char* TfLiteSignatureRunnerGetInputName(const TfLiteSignatureRunner* runner, std::int32_t index);
TfLiteTensor* TfLiteSignatureRunnerGetInputTensor(TfLiteSignatureRunner* runner, const char* name);
const TfLiteTensor* TfLiteSignatureRunnerGetOutputTensor(const TfLiteSignatureRunner* runner, const char* name);
int TfLiteSignatureRunnerResizeInputTensor(TfLiteSignatureRunner* runner, const char* name, const int* sides, std::int32_t count);
int TfLiteSignatureRunnerAllocateTensors(TfLiteSignatureRunner* runner);
int TfLiteSignatureRunnerInvoke(TfLiteSignatureRunner* runner);
void TfLiteSignatureRunnerDelete(TfLiteSignatureRunner* runner);

int TfLiteTensorType(const TfLiteTensor* tensor);
std::int32_t TfLiteTensorNumDims(const TfLiteTensor* tensor);
std::int32_t TfLiteTensorDim(const TfLiteTensor* tensor, std::int32_t axis);
std::size_t TfLiteTensorByteSize(const TfLiteTensor* tensor);
void* TfLiteTensorData(const TfLiteTensor* tensor);
int TfLiteTensorCopyFromBuffer(TfLiteTensor* tensor, const void* data, std::size_t bytes);

}  // extern "C"
