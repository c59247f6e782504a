package modelport.processing

import modelport.processing.decoders.Decoder
import modelport.processing.decoders.Model

/** What a call asks for; null stands for what metadata.json says. */
data class Options(
    val confidenceThreshold: Double? = null,
    /** For detectors. */
    val iouThreshold: Double? = null,
    /** For detectors and segmenters. */
    val maxDetections: Int? = null,
    /** For classifiers. */
    val topK: Int? = null,
)

/**
 * The whole way of one picture: RGB pixels to the model's tensor, and the model's outputs to predictions, as metadata.json says.
 *
 * MetadataError names the field that this code does not understand, and what would work. Safe to share between threads.
 */
class Pipeline(metadata: Map<String, Any?>) {
    private val root = Section(metadata, "").also(::checkVersion)
    private val normalize = readNormalize(root.section("preprocessing"))
    internal val resize = readResize(root.section("preprocessing"))
    internal val post = readPost(root)
    private val format = readFormat(root.section("preprocessing"), normalize.isEmbedded)
    private val table = normalizationTable(normalize)

    /** Class id to name. */
    val classes: Map<Int, String> = readClasses(root)

    /** The model's input and outputs, the latter in the order in which they are read. */
    val inputName: String = root.section("input_spec").text("name")
    val outputNames: List<String> = readOutputs(root).also { checkDecoder(post, resize, it) }

    /** The model's file, beside metadata.json. */
    val modelFile: String = root.text("model_file")

    /** Whether the EXIF orientation of a picture file is to be applied. */
    val appliesExif: Boolean get() = format.appliesExif

    /** A picture to the model's tensor of batch 1, and the geometry that [postprocess] needs to find back. */
    fun preprocess(image: RgbImage): Pair<Tensor, Geometry> {
        val (fitted, geometry) = fit(image, resize)
        return tensor(fitted) to geometry
    }

    /** Colour order, normalisation and layout of a picture that already has the model's size. */
    private fun tensor(fitted: RgbImage): Tensor {
        val (height, width) = fitted.size
        val count = height * width
        val shape = if (format.isPlanar) listOf(1, 3, height, width) else listOf(1, height, width, 3)
        val bytes = if (normalize.isEmbedded) ByteArray(3 * count) else ByteArray(0)
        val floats = if (normalize.isEmbedded) FloatArray(0) else FloatArray(3 * count)
        for (channel in 0 until 3) {
            val from = if (format.isBgr) 2 - channel else channel
            val values = table[channel]
            for (pixel in 0 until count) {
                val at = if (format.isPlanar) channel * count + pixel else pixel * 3 + channel
                val byte = fitted.pixels[pixel * 3 + from]
                if (normalize.isEmbedded) bytes[at] = byte else floats[at] = values[byte.toInt() and 0xFF]
            }
        }
        return if (normalize.isEmbedded) ByteTensor(shape, bytes) else FloatTensor(shape, floats)
    }

    /**
     * The model's outputs, by name and of batch 1, to predictions, best first.
     *
     * Classification lists the best classes. Objects are those whose score is above the confidence; an [Options.iouThreshold] given
     * here suppresses also behind a graph that suppresses itself (whose own thresholds bound what can be asked for) and behind one
     * that has no need of it, such as DETR's. Semantic segmentation gives one prediction a class, the largest first. Where the score
     * is not what predictions are chosen by (classes, regions), a confidence given here leaves out those not above it. OptionError for
     * an option out of range or without meaning for this model, MetadataError if the outputs are not as described, AnswerError for
     * masks too large to be given.
     */
    fun postprocess(outputs: Map<String, FloatTensor>, geometry: Geometry, options: Options = Options()): List<Prediction> {
        checkOptions(options, post.decoder)
        val raw = outputNames.take(post.decoder.outputs).map { name ->
            outputs[name] ?: throw MetadataError("output_spec", "the model gave ${outputs.keys.sorted()}, not '$name'")
        }
        return when (val decoder = post.decoder) {
            is Decoder.Classes -> classesOf(decoder.decode(raw[0]), options)
            is Decoder.Objects -> objectsOf(decoder, raw, geometry, options)
            is Decoder.Regions -> regionsOf(decoder.decode(raw[0]), geometry, options)
        }
    }

    /** The class's name; a class that the metadata does not list is called by its number. */
    fun className(classId: Int): String = classes[classId] ?: classId.toString()

    private fun classesOf(scores: FloatArray, options: Options): List<Prediction> {
        val threshold = options.confidenceThreshold?.toFloat()
        return best(scores, options.topK ?: post.topK)
            .filter { threshold == null || scores[it] > threshold }
            .map { Prediction(it, className(it), scores[it]) }
    }

    private fun objectsOf(
        decoder: Decoder.Objects,
        raw: List<FloatTensor>,
        geometry: Geometry,
        options: Options,
    ): List<Prediction> {
        val model = Model(classes.size, post.keypointShape, resize.size)
        val found = decoder.decode(raw, model, (options.confidenceThreshold ?: post.confidence).toFloat())
        val isOutside = post.isNmsEnabled && !post.isNmsEmbedded
        val choice = Choice(
            isRotated = decoder.isRotated,
            iou = options.iouThreshold ?: post.iou.takeIf { isOutside },
            limit = options.maxDetections ?: post.maxDetections,
            isAgnostic = post.isClassAgnostic,
        )
        return predictions(found.take(choose(found, choice)), geometry, ::className, decoder.isRotated)
    }

    private fun regionsOf(logits: FloatTensor, geometry: Geometry, options: Options): List<Prediction> =
        regions(logits, geometry.source)
            .filter { options.confidenceThreshold == null || it.confidence > options.confidenceThreshold }
            .take(options.maxDetections ?: post.maxDetections)
            .map { Prediction(it.classId, className(it.classId), it.confidence.toFloat(), it.box, mask = it.mask) }
}

/**
 * For each channel of the tensor the normalised value of each byte: `(float32(byte * scale) - mean) / std`.
 *
 * The product is taken in double precision and rounded once, which makes it equal, to the bit, to the division by 255 of torchvision,
 * timm and Ultralytics; difference and quotient are float32.
 */
internal fun normalizationTable(normalize: Normalize): List<FloatArray> = List(3) { channel ->
    val mean = normalize.mean[channel].toFloat()
    val std = normalize.std[channel].toFloat()
    FloatArray(256) { byte -> ((byte * normalize.scale).toFloat() - mean) / std }
}

/** Options that a kind of model cannot obey, and why. */
private fun meaningless(decoder: Decoder): Map<String, String> = when (decoder) {
    is Decoder.Classes -> mapOf("iou_threshold" to "is for detectors", "max_detections" to "is for detectors; use top_k")
    is Decoder.Objects -> mapOf("top_k" to "is for classifiers; use max_detections")
    is Decoder.Regions -> mapOf("top_k" to "is for classifiers; use max_detections", "iou_threshold" to "is for detectors")
}

/** OptionError for an option out of range, or one that means nothing for this kind of model. */
internal fun checkOptions(options: Options, decoder: Decoder) {
    checkFraction("confidence_threshold", options.confidenceThreshold)
    checkFraction("iou_threshold", options.iouThreshold)
    checkCount("max_detections", options.maxDetections)
    checkCount("top_k", options.topK)
    val given = mapOf(
        "iou_threshold" to options.iouThreshold,
        "max_detections" to options.maxDetections,
        "top_k" to options.topK,
    )
    for ((name, reason) in meaningless(decoder)) if (given[name] != null) throw OptionError(name, reason)
}

private fun checkFraction(name: String, value: Double?) {
    if (value != null && !(value in 0.0..1.0)) throw OptionError(name, "must be from 0 to 1, not $value")
}

private fun checkCount(name: String, value: Int?) {
    if (value != null && value < 1) throw OptionError(name, "must be at least 1, not $value")
}
