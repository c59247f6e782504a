/*
 * Lets the Java API and JNI of ONNX Runtime 1.17 drive another release: the one library that they link to has the name and the version
 * of 1.17, and hands on the call by which everything else is found. ORT_REAL names the library that does the work.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

const void *OrtGetApiBase(void) {
  static const void *(*real)(void);
  if (!real) {
    const char *path = getenv("ORT_REAL");
    void *library = dlopen(path ? path : "libonnxruntime.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) real = (const void *(*)(void))dlsym(library, "OrtGetApiBase");
    if (!real) {
      fprintf(stderr, "ONNX Runtime cannot be loaded: %s\n", dlerror());
      abort();
    }
  }
  return real();
}

/* The other symbol that the JNI links to; nothing calls it, as the CPU is what every session runs on. */
void *OrtSessionOptionsAppendExecutionProvider_CPU(void) { return 0; }
