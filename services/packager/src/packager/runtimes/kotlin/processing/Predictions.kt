package modelport.processing

/** Edges in pixels of the picture. */
data class Box(val x1: Float, val y1: Float, val x2: Float, val y2: Float)

/** Centre and size in pixels of the picture; [angle] is in radians, clockwise, as y goes down. */
data class RotatedBox(val cx: Float, val cy: Float, val width: Float, val height: Float, val angle: Float)

/** A place in pixels of the picture; [confidence] is 1 where the model tells none. */
data class Keypoint(val x: Float, val y: Float, val confidence: Float)

/**
 * One class of a picture, one detected object, or all pixels of one class.
 *
 * [bbox] is null for classifiers; of a rotated box and of a segmentation it is the enclosing box. [mask] is as large as the
 * picture. What the task has not is null.
 */
data class Prediction(
    val classId: Int,
    val className: String,
    val confidence: Float,
    val bbox: Box? = null,
    val rotatedBox: RotatedBox? = null,
    val keypoints: List<Keypoint>? = null,
    val mask: Mask? = null,
) {
    /** The same names as in every other language, ready for JSON; what the task has not is left out, but for `bbox`. */
    fun asMap(): Map<String, Any?> = buildMap {
        put("class_id", classId)
        put("class_name", className)
        put("confidence", confidence)
        put("bbox", bbox?.let { listOf(it.x1, it.y1, it.x2, it.y2) })
        rotatedBox?.let { put("rotated_box", listOf(it.cx, it.cy, it.width, it.height, it.angle)) }
        keypoints?.let { points -> put("keypoints", points.map { listOf(it.x, it.y, it.confidence) }) }
        mask?.let { put("mask", mapOf("size" to listOf(it.size.height, it.size.width), "counts" to it.counts.asList())) }
    }

    /** One line of JSON. */
    fun toJson(): String = jsonText(asMap())
}
