package modelport.backends

import modelport.processing.BackendError

/** `model_info.export_format` that this build stands for. */
internal const val FORMAT = "tflite"

/** LiteRT has no release for the JVM: what comes before and after the model runs there, the model itself on Android. */
internal fun openBackend(model: ModelSource, facts: Facts): Backend =
    throw BackendError("LiteRT has no release for the JVM; this model runs on Android")
