/* The natives of the stub Interpreter over TensorFlow Lite's C API, whose functions are declared here by hand. */
#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Model Model;
typedef struct Interpreter Interpreter;
typedef struct Runner Runner;
typedef struct Tensor Tensor;
typedef struct { Model *model; Interpreter *interpreter; Runner *runner; } Loaded;

Model *TfLiteModelCreate(const void *data, size_t size);
Model *TfLiteModelCreateFromFile(const char *path);
void TfLiteModelDelete(Model *);
Interpreter *TfLiteInterpreterCreate(const Model *, const void *options);
void TfLiteInterpreterDelete(Interpreter *);
int32_t TfLiteInterpreterGetSignatureCount(const Interpreter *);
const char *TfLiteInterpreterGetSignatureKey(const Interpreter *, int32_t);
Runner *TfLiteInterpreterGetSignatureRunner(const Interpreter *, const char *key);
size_t TfLiteSignatureRunnerGetInputCount(const Runner *);
const char *TfLiteSignatureRunnerGetInputName(const Runner *, int32_t);
Tensor *TfLiteSignatureRunnerGetInputTensor(Runner *, const char *);
size_t TfLiteSignatureRunnerGetOutputCount(const Runner *);
const char *TfLiteSignatureRunnerGetOutputName(const Runner *, int32_t);
const Tensor *TfLiteSignatureRunnerGetOutputTensor(const Runner *, const char *);
int TfLiteSignatureRunnerAllocateTensors(Runner *);
int TfLiteSignatureRunnerInvoke(Runner *);
void TfLiteSignatureRunnerDelete(Runner *);
int TfLiteTensorType(const Tensor *);
int32_t TfLiteTensorNumDims(const Tensor *);
int32_t TfLiteTensorDim(const Tensor *, int32_t);
size_t TfLiteTensorByteSize(const Tensor *);
int TfLiteTensorCopyFromBuffer(Tensor *, const void *, size_t);
int TfLiteTensorCopyToBuffer(const Tensor *, void *, size_t);

#define NATIVE(type, name) JNIEXPORT type JNICALL Java_org_tensorflow_lite_Interpreter_##name

static const Tensor *find(JNIEnv *env, Loaded *it, jstring name, jboolean is_input) {
  const char *text = (*env)->GetStringUTFChars(env, name, 0);
  const Tensor *tensor = is_input ? TfLiteSignatureRunnerGetInputTensor(it->runner, text)
                                  : TfLiteSignatureRunnerGetOutputTensor(it->runner, text);
  (*env)->ReleaseStringUTFChars(env, name, text);
  return tensor;
}

NATIVE(void, free)(JNIEnv *env, jclass type, jlong handle) {
  (void)env, (void)type;
  Loaded *it = (Loaded *)handle;
  if (it->runner) TfLiteSignatureRunnerDelete(it->runner);
  if (it->interpreter) TfLiteInterpreterDelete(it->interpreter);
  if (it->model) TfLiteModelDelete(it->model);
  free(it);
}

NATIVE(jlong, load)(JNIEnv *env, jclass type, jstring path, jobject buffer) {
  Loaded *it = calloc(1, sizeof *it);
  if (path) {
    const char *text = (*env)->GetStringUTFChars(env, path, 0);
    it->model = TfLiteModelCreateFromFile(text);
    (*env)->ReleaseStringUTFChars(env, path, text);
  } else {
    it->model = TfLiteModelCreate((*env)->GetDirectBufferAddress(env, buffer), (*env)->GetDirectBufferCapacity(env, buffer));
  }
  it->interpreter = it->model ? TfLiteInterpreterCreate(it->model, 0) : 0;
  it->runner = it->interpreter && TfLiteInterpreterGetSignatureCount(it->interpreter) == 1
                   ? TfLiteInterpreterGetSignatureRunner(it->interpreter, TfLiteInterpreterGetSignatureKey(it->interpreter, 0))
                   : 0;
  if (it->runner && TfLiteSignatureRunnerAllocateTensors(it->runner) == 0) return (jlong)it;
  Java_org_tensorflow_lite_Interpreter_free(env, type, (jlong)it);
  return 0;
}

NATIVE(jobjectArray, names)(JNIEnv *env, jclass type, jlong handle, jint which) {
  (void)type;
  Loaded *it = (Loaded *)handle;
  size_t count = which == 0   ? (size_t)TfLiteInterpreterGetSignatureCount(it->interpreter)
                 : which == 1 ? TfLiteSignatureRunnerGetInputCount(it->runner)
                              : TfLiteSignatureRunnerGetOutputCount(it->runner);
  jobjectArray all = (*env)->NewObjectArray(env, (jsize)count, (*env)->FindClass(env, "java/lang/String"), 0);
  for (int32_t i = 0; i < (int32_t)count; i++) {
    const char *name = which == 0   ? TfLiteInterpreterGetSignatureKey(it->interpreter, i)
                       : which == 1 ? TfLiteSignatureRunnerGetInputName(it->runner, i)
                                    : TfLiteSignatureRunnerGetOutputName(it->runner, i);
    (*env)->SetObjectArrayElement(env, all, i, (*env)->NewStringUTF(env, name));
  }
  return all;
}

NATIVE(jintArray, facts)(JNIEnv *env, jclass type, jlong handle, jstring name, jboolean is_input) {
  (void)type;
  const Tensor *tensor = find(env, (Loaded *)handle, name, is_input);
  if (!tensor) return 0;
  int32_t dimensions = TfLiteTensorNumDims(tensor);
  jintArray all = (*env)->NewIntArray(env, dimensions + 2);
  jint first[2] = {TfLiteTensorType(tensor), (jint)TfLiteTensorByteSize(tensor)};
  (*env)->SetIntArrayRegion(env, all, 0, 2, first);
  for (int32_t i = 0; i < dimensions; i++) {
    jint side = TfLiteTensorDim(tensor, i);
    (*env)->SetIntArrayRegion(env, all, i + 2, 1, &side);
  }
  return all;
}

NATIVE(void, copy)(JNIEnv *env, jclass type, jlong handle, jstring name, jobject buffer, jboolean is_input) {
  const Tensor *tensor = find(env, (Loaded *)handle, name, is_input);
  void *data = (*env)->GetDirectBufferAddress(env, buffer);
  size_t size = (size_t)(*env)->GetDirectBufferCapacity(env, buffer);
  int bad = !tensor || !data || (is_input ? TfLiteTensorCopyFromBuffer((Tensor *)tensor, data, size)
                                          : TfLiteTensorCopyToBuffer(tensor, data, size));
  (void)type;
  if (bad) (*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalArgumentException"), "Cannot copy a tensor");
}

NATIVE(jboolean, invoke)(JNIEnv *env, jclass type, jlong handle) {
  (void)env, (void)type;
  return TfLiteSignatureRunnerInvoke(((Loaded *)handle)->runner) == 0;
}
