package modelport.backends

import java.io.File
import modelport.processing.FloatTensor
import modelport.processing.MetadataError
import modelport.processing.Tensor

/*
 * What runs a model. One file of this folder beside this one belongs to a build: it defines FORMAT and openBackend.
 */

/** A model's bytes, or the file that holds them. */
internal sealed interface ModelSource {
    class InFile(val file: File) : ModelSource

    class InMemory(val bytes: ByteArray) : ModelSource
}

/** What metadata.json says of the model's tensors; [batch] is how many pictures it takes, -1 for any number. */
internal class Facts(val inputName: String, val outputNames: List<String>, val batch: Int)

/** A loaded model: a tensor of one or more pictures in, its outputs by name out, as many rows as pictures. */
internal interface Backend : AutoCloseable {
    /** May be called from several threads. */
    fun run(input: Tensor): Map<String, FloatTensor>
}

/** The outputs that metadata.json names, of all that a model gave; MetadataError where one is missing. */
internal fun picked(names: List<String>, outputs: Map<String, FloatTensor>): Map<String, FloatTensor> = names.associateWith {
    outputs[it] ?: throw MetadataError("output_spec", "names '$it', the model gave ${outputs.keys.sorted()}")
}
