package modelport

import java.io.File
import java.io.FileNotFoundException
import java.util.concurrent.locks.ReentrantReadWriteLock
import kotlin.concurrent.read
import kotlin.concurrent.write
import modelport.backends.Backend
import modelport.backends.FORMAT
import modelport.backends.Facts
import modelport.backends.ModelSource
import modelport.backends.openBackend
import modelport.processing.ByteTensor
import modelport.processing.ClosedError
import modelport.processing.FloatTensor
import modelport.processing.Geometry
import modelport.processing.JsonError
import modelport.processing.MetadataError
import modelport.processing.OptionError
import modelport.processing.Options
import modelport.processing.Pipeline
import modelport.processing.Prediction
import modelport.processing.RgbImage
import modelport.processing.Section
import modelport.processing.Tensor
import modelport.processing.parseJson

/** How many pictures go through a model at once that takes any number: more would cost memory and save no time. */
private const val DYNAMIC_BATCH = 16

/** The largest number of pictures that a model can be made for. */
private const val MAX_BATCH = 1024

/**
 * Runs a package's model: pictures in, predictions out, exactly as metadata.json says.
 *
 * ```
 * ModelWrapper(File("package")).use { model ->
 *     for (found in model.predict(File("picture.jpg"))) println("${found.className} ${found.confidence} ${found.bbox}")
 * }
 * ```
 *
 * Every method may be called from several threads at once; [close] waits for those that run. A file that is not there is a
 * [java.io.FileNotFoundException]; whatever else goes wrong is a [modelport.processing.ProcessingError]: MetadataError for metadata that
 * this code does not understand, BackendError where the runtime is missing or refuses the model.
 */
class ModelWrapper private constructor(source: ModelSource?, metadata: String, folder: File?) : AutoCloseable {
    /** What metadata.json says, in the order of the file. */
    val metadata: Map<String, Any?> = readMetadata(metadata)

    /** Everything but the model. */
    val pipeline = Pipeline(this.metadata)

    /** How many pictures the model takes; any number where it is -1. */
    private val batch: Int = readBatch(this.metadata)

    /** The most pictures that [run] takes, and that [predictBatch] gives it, at once. */
    val batchSize: Int = if (batch > 0) batch else minOf(DYNAMIC_BATCH, readMaxBatch(this.metadata))

    private val lock = ReentrantReadWriteLock()
    private var backend: Backend? = open(source ?: ModelSource.InFile(modelBelow(folder)))

    /** The model and its metadata.json. */
    constructor(model: File, metadata: File) : this(ModelSource.InFile(model.existing()), metadata.readText(), null)

    /** An unpacked package; without one, that in whose folder `runtimes/kotlin` this program was started. */
    constructor(folder: File = File("../..")) : this(null, folder.resolve("metadata.json").readText(), folder)

    /** The bytes of the model and the text of its metadata.json, for instance assets of an application. */
    constructor(model: ByteArray, metadata: String) : this(ModelSource.InMemory(model), metadata, null)

    /**
     * The predictions of one picture, best first.
     *
     * [Prediction.bbox] is in pixels of the picture, null for a classifier. OptionError for an option that is out of range or means
     * nothing for this model.
     */
    fun predict(image: RgbImage, options: Options = Options()): List<Prediction> = predictBatch(listOf(image), options).single()

    /**
     * The predictions of each picture, as [predict] gives them but for the rounding of a runtime that adds up in another order.
     *
     * As many as the model takes go through it at once ([batchSize]), whatever their sizes are.
     */
    fun predictBatch(images: List<RgbImage>, options: Options = Options()): List<List<Prediction>> =
        images.chunked(batchSize).flatMap { some ->
            val prepared = some.map(::preprocess)
            val outputs = run(joined(prepared.map { it.first }))
            prepared.mapIndexed { row, (_, geometry) -> postprocess(outputs.mapValues { rows(it.value, row, 1) }, geometry, options) }
        }

    /** The model's tensor of batch 1 for a picture, and the geometry that [postprocess] needs to find back into it. */
    fun preprocess(image: RgbImage): Pair<Tensor, Geometry> = pipeline.preprocess(image)

    /** The model alone: a tensor of up to [batchSize] pictures to its outputs by name, as many rows as pictures. */
    fun run(tensor: Tensor): Map<String, FloatTensor> = lock.read {
        val model = backend ?: throw ClosedError()
        val count = tensor.shape.firstOrNull() ?: 0
        if (count !in 1..batchSize) throw OptionError("tensor", "the shape ${tensor.shape} is not that of 1 to $batchSize pictures")
        val whole = if (batch > count) joined(listOf(tensor) + List(batch - count) { last(tensor) }) else tensor
        val outputs = model.run(whole)
        outputs.forEach { (name, output) ->
            if (output.shape.firstOrNull() != whole.shape[0]) {
                throw MetadataError("output_spec", "'$name' has the shape ${output.shape} for ${whole.shape[0]} pictures")
            }
        }
        if (whole === tensor) outputs else outputs.mapValues { rows(it.value, 0, count) }
    }

    /** One picture's outputs, by name and of batch 1, to predictions, best first. */
    fun postprocess(outputs: Map<String, FloatTensor>, geometry: Geometry, options: Options = Options()): List<Prediction> =
        pipeline.postprocess(outputs, geometry, options)

    /** Let go of the model; what is asked of it afterwards is a ClosedError. */
    override fun close() = lock.write {
        backend?.close()
        backend = null
    }

    private fun open(source: ModelSource): Backend {
        val format = Section(metadata, "").section("model_info").text("export_format")
        if (format != FORMAT) throw MetadataError("model_info.export_format", "'$format'; here runs: $FORMAT")
        return openBackend(source, Facts(pipeline.inputName, pipeline.outputNames, batch))
    }

    private fun modelBelow(folder: File?): File = (folder ?: File(".")).resolve(pipeline.modelFile).existing()
}

/** The map of a metadata.json; MetadataError for a text that is none. */
internal fun readMetadata(text: String): Map<String, Any?> {
    val value = try {
        parseJson(text)
    } catch (error: JsonError) {
        throw MetadataError("the file", error.message.orEmpty())
    }
    val map = value as? Map<*, *> ?: throw MetadataError("the file", "must hold an object")
    return map.entries.associate { it.key.toString() to it.value }
}

private fun readBatch(metadata: Map<String, Any?>): Int {
    val input = Section(metadata, "").section("input_spec")
    val count = (input.values["shape"] as? List<*>)?.firstOrNull() as? Long
    if (count == null || (count != -1L && count !in 1..MAX_BATCH)) {
        throw MetadataError(input.field("shape"), "must begin with -1 or 1 to $MAX_BATCH pictures")
    }
    return count.toInt()
}

private fun readMaxBatch(metadata: Map<String, Any?>): Int {
    val options = Section(metadata, "").section("provenance").section("export_options")
    return if (options.has("max_batch_size")) options.integer("max_batch_size", null, 1.0) else Int.MAX_VALUE
}

private fun File.existing(): File = also { if (!it.exists()) throw FileNotFoundException("there is no model at $it") }

/** Tensors of the same kind one after the other. */
private fun joined(tensors: List<Tensor>): Tensor {
    val first = tensors.singleOrNull()
    if (first != null) return first
    val shape = listOf(tensors.sumOf { it.shape[0] }) + tensors[0].shape.drop(1)
    if (tensors[0] is FloatTensor) {
        val parts = tensors.map { (it as FloatTensor).values }
        val all = FloatArray(parts.sumOf { it.size })
        parts.fold(0) { at, part -> part.copyInto(all, at); at + part.size }
        return FloatTensor(shape, all)
    }
    val parts = tensors.map { (it as ByteTensor).values }
    val all = ByteArray(parts.sumOf { it.size })
    parts.fold(0) { at, part -> part.copyInto(all, at); at + part.size }
    return ByteTensor(shape, all)
}

private fun last(tensor: Tensor): Tensor = when (tensor) {
    is FloatTensor -> rows(tensor, tensor.shape[0] - 1, 1)
    is ByteTensor -> {
        val size = tensor.values.size / tensor.shape[0]
        ByteTensor(listOf(1) + tensor.shape.drop(1), tensor.values.copyOfRange(tensor.values.size - size, tensor.values.size))
    }
}

/** [count] entries of the first axis. */
private fun rows(tensor: FloatTensor, start: Int, count: Int): FloatTensor {
    val size = tensor.values.size / maxOf(tensor.shape[0], 1)
    return FloatTensor(listOf(count) + tensor.shape.drop(1), tensor.values.copyOfRange(start * size, (start + count) * size))
}
