package modelport.processing

import modelport.processing.decoders.DECODERS
import modelport.processing.decoders.Decoder
import modelport.processing.decoders.KeypointShape

/*
 * metadata.json read into values; what this code does not know is refused by the name of its field.
 */

private const val SCHEMA_VERSION = 1L
private const val MAX_SIDE = 4096.0
private const val MAX_DETECTIONS = 3000.0
private const val MAX_TOP_K = 1000.0
private const val MAX_POINTS = 1000.0

/** `(byte * scale - mean) / std`; [isEmbedded]: the graph does it and takes uint8. */
internal class Normalize(val scale: Double, val mean: List<Double>, val std: List<Double>, val isEmbedded: Boolean)

/** Layout NCHW or NHWC, colour order RGB or BGR, and whether EXIF orientation is applied to pictures. */
internal class TensorFormat(val isPlanar: Boolean, val isBgr: Boolean, val appliesExif: Boolean)

/** Decoder and default thresholds; [isNmsEmbedded]: the graph suppresses, its thresholds bound what can be asked for. */
internal class Post(
    val decoder: Decoder,
    val confidence: Double,
    val iou: Double,
    val maxDetections: Int,
    val isNmsEnabled: Boolean,
    val isNmsEmbedded: Boolean,
    val isClassAgnostic: Boolean,
    val topK: Int,
    val keypointShape: KeypointShape?,
)

/** One object of the metadata and its path, for messages. */
internal class Section(val values: Map<*, *>, private val path: String) {
    fun section(name: String): Section {
        val value = given(name) as? Map<*, *> ?: throw MetadataError(field(name), "must be an object")
        return Section(value, field(name))
    }

    fun field(name: String): String = if (path.isEmpty()) name else "$path.$name"

    fun <T : Any> oneOf(name: String, known: Collection<T>, default: T? = null): T {
        val value = if (has(name) || default == null) given(name) else default
        return known.find { it == value }
            ?: throw MetadataError(field(name), "${shown(value)} is unknown; known: ${known.joinToString()}")
    }

    fun text(name: String): String = given(name) as? String ?: throw MetadataError(field(name), "must be a string")

    fun number(name: String, default: Double?, low: Double = -1e30, high: Double = 1e30): Double {
        val value = if (has(name) || default == null) given(name) else default
        val number = (value as? Number)?.toDouble()
        if (number == null || !(number in low..high)) {
            throw MetadataError(field(name), "must be a number from $low to $high, not ${shown(value)}")
        }
        return number
    }

    fun integer(name: String, default: Int?, low: Double, high: Double = Int.MAX_VALUE.toDouble()): Int {
        val value = number(name, default?.toDouble(), low, high)
        if (value != Math.rint(value)) throw MetadataError(field(name), "must be an integer, not $value")
        return value.toInt()
    }

    fun flag(name: String, default: Boolean): Boolean = oneOf(name, listOf(true, false), default)

    fun size(name: String): Size {
        val pair = list(name, 2, "must be [height, width]")
        return Size(pair.integer("0", null, 1.0, MAX_SIDE), pair.integer("1", null, 1.0, MAX_SIDE))
    }

    fun triple(name: String, default: Double): List<Double> {
        if (!has(name)) return List(3) { default }
        val parts = list(name, 3, "must be three numbers")
        return List(3) { parts.number(it.toString(), null) }
    }

    /** A list of that many entries, as a section whose names are their places. */
    fun list(name: String, length: Int, complaint: String): Section {
        val value = given(name) as? List<*>
        if (value == null || value.size != length) throw MetadataError(field(name), complaint)
        return Section(value.withIndex().associate { it.index.toString() to it.value }, field(name))
    }

    fun has(name: String): Boolean = values[name] != null

    private fun given(name: String): Any = values[name] ?: throw MetadataError(field(name), "is missing")
}

private fun shown(value: Any): String = if (value is String) "'$value'" else value.toString()

/** MetadataError for any schema but v1. */
internal fun checkVersion(root: Section) {
    root.oneOf("schema_version", listOf(SCHEMA_VERSION))
}

/** `preprocessing.resize`. */
internal fun readResize(pre: Section): Resize {
    val part = pre.section("resize")
    return Resize(
        method = part.oneOf("method", METHODS.keys),
        size = part.size("size"),
        kernel = part.oneOf("kernel", KERNELS.keys),
        resizeTo = if (part.has("resize_to")) part.size("resize_to") else null,
        fillValue = part.integer("fill_value", 114, 0.0, 255.0),
        scaleUp = part.flag("scale_up", true),
        center = part.flag("center", true),
        cropOffset = part.oneOf("crop_offset", CROP_OFFSETS.keys, "round"),
    )
}

/** `preprocessing.normalize`. */
internal fun readNormalize(pre: Section): Normalize {
    val part = pre.section("normalize")
    part.oneOf("method", listOf("standard"), "standard")
    val std = part.triple("std", 1.0)
    if (0.0 in std) throw MetadataError(part.field("std"), "must not be zero")
    val mean = part.triple("mean", 0.0)
    return Normalize(part.number("scale", 1.0 / 255), mean, std, part.flag("embedded", false))
}

/** `preprocessing.format`; the tensor is uint8 exactly where the graph normalises. */
internal fun readFormat(pre: Section, isEmbedded: Boolean): TensorFormat {
    val part = pre.section("format")
    val type = if (isEmbedded) "uint8" else "float32"
    part.oneOf("input_layout", listOf("HWC"), "HWC")
    part.oneOf("dtype", listOf(type), type)
    return TensorFormat(
        isPlanar = part.oneOf("output_layout", listOf("NCHW", "NHWC"), "NCHW") == "NCHW",
        isBgr = part.oneOf("color_space", listOf("RGB", "BGR"), "RGB") == "BGR",
        appliesExif = part.oneOf("exif_orientation", listOf("applied", "ignored"), "applied") == "applied",
    )
}

/** `postprocessing`. */
internal fun readPost(root: Section): Post {
    val part = root.section("postprocessing")
    val nms = part.section("nms")
    return Post(
        decoder = DECODERS.getValue(part.oneOf("decoder", DECODERS.keys)),
        confidence = nms.number("confidence_threshold", 0.25, 0.0, 1.0),
        iou = nms.number("iou_threshold", 0.45, 0.0, 1.0),
        maxDetections = nms.integer("max_detections", 300, 1.0, MAX_DETECTIONS),
        isNmsEnabled = nms.flag("enabled", false),
        isNmsEmbedded = nms.flag("embedded", false),
        isClassAgnostic = nms.flag("class_agnostic", false),
        topK = part.integer("top_k", 5, 1.0, MAX_TOP_K),
        keypointShape = keypointShape(part),
    )
}

private fun keypointShape(part: Section): KeypointShape? {
    if (!part.has("keypoint_shape")) return null
    val pair = part.list("keypoint_shape", 2, "must be [points, numbers per point]")
    return KeypointShape(pair.integer("0", null, 1.0, MAX_POINTS), pair.integer("1", null, 2.0, 3.0))
}

/** MetadataError where the decoder needs what the rest of the metadata does not give. */
internal fun checkDecoder(post: Post, resize: Resize, outputs: List<String>) {
    val decoder = post.decoder
    val name = DECODERS.entries.first { it.value === decoder }.key
    if (outputs.size < decoder.outputs) {
        throw MetadataError("output_spec", "$name needs ${decoder.outputs} outputs, not ${outputs.size}")
    }
    if (decoder !is Decoder.Objects) return
    if (decoder.hasKeypoints && post.keypointShape == null) {
        throw MetadataError("postprocessing.keypoint_shape", "is missing, which $name needs")
    }
    if (decoder.hasMasks && !(resize.method == "letterbox" && resize.center && resize.scaleUp)) {
        throw MetadataError("preprocessing.resize", "$name needs a centred letterbox that may enlarge")
    }
}

/** Class id to name. */
internal fun readClasses(root: Section): Map<Int, String> {
    val list = root.values["classes"] as? List<*> ?: throw MetadataError("classes", "must be a list")
    return list.withIndex().associate { (i, value) ->
        val entry = Section(value as? Map<*, *> ?: emptyMap<String, Any>(), "classes[$i]")
        entry.integer("id", null, 0.0) to entry.text("name")
    }
}

/** Names of the model's outputs, in the order of `output_spec`. */
internal fun readOutputs(root: Section): List<String> {
    val part = root.section("output_spec")
    val names = part.values.keys.map { part.section(it.toString()).text("name") }
    if (names.isEmpty()) throw MetadataError("output_spec", "must name at least one output")
    return names
}
