package modelport.backends

import java.nio.ByteBuffer
import java.nio.ByteOrder
import modelport.processing.BackendError
import modelport.processing.ByteTensor
import modelport.processing.FloatTensor
import modelport.processing.MetadataError
import modelport.processing.Tensor
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

/** `model_info.export_format` that this build runs. */
internal const val FORMAT = "tflite"

/** LiteRT on the CPU: com.google.ai.edge.litert:litert. Outputs are known by the names of the model's signature. */
internal fun openBackend(model: ModelSource, facts: Facts): Backend = refusing("cannot load the model") {
    LiteRt(
        when (model) {
            is ModelSource.InFile -> Interpreter(model.file)
            is ModelSource.InMemory -> Interpreter(direct(model.bytes.size).put(model.bytes).apply { rewind() })
        },
        facts,
    )
}

/** An interpreter answers one call at a time. */
private class LiteRt(private val interpreter: Interpreter, private val facts: Facts) : Backend {
    private val signature = interpreter.signatureKeys.singleOrNull()
        ?: throw MetadataError("model_file", "is a model of ${interpreter.signatureKeys.size} signatures, which must be one")
    private val inputName = interpreter.getSignatureInputs(signature).singleOrNull()
        ?: throw MetadataError("input_spec", "is of a model that takes more than one input")

    override fun run(input: Tensor): Map<String, FloatTensor> = refusing("cannot run the model") {
        synchronized(this) {
            checkInput(input)
            val given = interpreter.getSignatureOutputs(signature).toSet()
            val buffers = facts.outputNames.filter { it in given }.associateWith { direct(output(it).numBytes()) }
            interpreter.runSignature(mapOf<String, Any>(inputName to bytes(input)), buffers, signature)
            picked(facts.outputNames, buffers.mapValues { (name, buffer) -> floats(name, buffer) })
        }
    }

    override fun close() = synchronized(this) { interpreter.close() }

    private fun output(name: String) = interpreter.getOutputTensorFromSignature(name, signature)

    private fun checkInput(input: Tensor) {
        val taken = interpreter.getInputTensorFromSignature(inputName, signature)
        if (taken.shape().toList() != input.shape) {
            throw MetadataError("input_spec.shape", "gave a tensor ${input.shape}, the model takes ${taken.shape().toList()}")
        }
    }

    private fun bytes(input: Tensor): ByteBuffer {
        val buffer = when (input) {
            is ByteTensor -> direct(input.values.size).put(input.values)
            is FloatTensor -> direct(4 * input.values.size).apply { asFloatBuffer().put(input.values) }
        }
        buffer.rewind()
        return buffer
    }

    private fun floats(name: String, buffer: ByteBuffer): FloatTensor {
        val tensor = output(name)
        buffer.rewind()
        val read: () -> Float = when (tensor.dataType()) {
            DataType.FLOAT32 -> buffer::getFloat
            DataType.INT32 -> { -> buffer.getInt().toFloat() }
            DataType.INT64 -> { -> buffer.getLong().toFloat() }
            else -> throw MetadataError("output_spec", "'$name' holds ${tensor.dataType()}, which this code does not read")
        }
        return FloatTensor(tensor.shape().toList(), FloatArray(tensor.numElements()) { read() })
    }
}

private fun direct(size: Int): ByteBuffer = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())

private inline fun <T> refusing(what: String, action: () -> T): T = try {
    action()
} catch (error: IllegalArgumentException) {
    throw BackendError("$what: ${error.message}", error)
} catch (error: IllegalStateException) {
    throw BackendError("$what: ${error.message}", error)
} catch (error: LinkageError) { // its native library is missing, or not for this device
    throw BackendError("LiteRT's native library cannot be loaded: ${(error.cause ?: error).message}", error)
}
