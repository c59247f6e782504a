package modelport.backends

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import modelport.processing.BackendError
import modelport.processing.ByteTensor
import modelport.processing.FloatTensor
import modelport.processing.MetadataError
import modelport.processing.Tensor

/** `model_info.export_format` that this build runs. */
internal const val FORMAT = "onnx"

/** ONNX Runtime on the CPU: com.microsoft.onnxruntime:onnxruntime on the JVM, onnxruntime-android on Android. */
internal fun openBackend(model: ModelSource, facts: Facts): Backend = refusing("cannot load the model") {
    val environment = OrtEnvironment.getEnvironment()
    val session = OrtSession.SessionOptions().use { options ->
        when (model) {
            is ModelSource.InFile -> environment.createSession(model.file.path, options)
            is ModelSource.InMemory -> environment.createSession(model.bytes, options)
        }
    }
    OnnxRuntime(environment, session, facts)
}

private class OnnxRuntime(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    private val facts: Facts,
) : Backend {
    init {
        try {
            checkInput()
        } catch (error: MetadataError) {
            session.close()
            throw error
        }
    }

    private fun checkInput() {
        val taken = session.inputInfo[facts.inputName]
            ?: throw MetadataError("input_spec.name", "is '${facts.inputName}', the model takes ${session.inputNames}")
        val batch = (taken.info as? TensorInfo)?.shape?.firstOrNull() ?: -1
        if (batch > 0 && batch != facts.batch.toLong()) {
            throw MetadataError("input_spec.shape", "begins with ${facts.batch}, the model takes $batch at once")
        }
    }

    override fun run(input: Tensor): Map<String, FloatTensor> = refusing("cannot run the model") {
        tensorOf(input).use { tensor ->
            session.run(mapOf(facts.inputName to tensor)).use { result ->
                picked(facts.outputNames, result.associate { (name, value) -> name to floats(name, value as? OnnxTensor) })
            }
        }
    }

    override fun close() = session.close()

    private fun tensorOf(input: Tensor): OnnxTensor {
        val shape = LongArray(input.shape.size) { input.shape[it].toLong() }
        return when (input) {
            is FloatTensor -> OnnxTensor.createTensor(environment, FloatBuffer.wrap(input.values), shape)
            is ByteTensor -> OnnxTensor.createTensor(environment, direct(input.values), shape, OnnxJavaType.UINT8)
        }
    }

    private fun direct(values: ByteArray): ByteBuffer {
        val buffer = ByteBuffer.allocateDirect(values.size).order(ByteOrder.nativeOrder())
        buffer.put(values)
        buffer.rewind()
        return buffer
    }

    private fun floats(name: String, output: OnnxTensor?): FloatTensor {
        val values = when (output?.info?.type) {
            OnnxJavaType.FLOAT, OnnxJavaType.FLOAT16 -> output.floatBuffer.let { FloatArray(it.remaining()).also(it::get) }
            OnnxJavaType.DOUBLE -> output.doubleBuffer.let { from -> FloatArray(from.remaining()) { from.get(it).toFloat() } }
            OnnxJavaType.INT64 -> output.longBuffer.let { from -> FloatArray(from.remaining()) { from.get(it).toFloat() } }
            OnnxJavaType.INT32 -> output.intBuffer.let { from -> FloatArray(from.remaining()) { from.get(it).toFloat() } }
            else -> throw MetadataError("output_spec", "'$name' is no tensor of numbers that this code reads")
        }
        return FloatTensor(output.info.shape.map(Long::toInt), values)
    }
}

private inline fun <T> refusing(what: String, action: () -> T): T = try {
    action()
} catch (error: OrtException) {
    throw BackendError("$what: ${error.message}", error)
} catch (error: LinkageError) { // its native library is missing, or not for this machine
    throw BackendError("ONNX Runtime's native library cannot be loaded: ${(error.cause ?: error).message}", error)
}
