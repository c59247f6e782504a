package modelport.processing

import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/*
 * How a picture of any size lies in the model's input: resize, then cut or pad, and the way back for boxes.
 */

/** Of the resized picture before the cut: a strip one pixel high would otherwise become gigabytes. */
internal const val MAX_RESIZED_PIXELS = 1 shl 25

/** What torchvision's CenterCrop pads with where the picture is smaller than the cut. */
private const val CROP_FILL = 0

/** `preprocessing.resize` of metadata.json. */
internal data class Resize(
    val method: String,
    val size: Size,
    val kernel: String,
    val resizeTo: Size? = null,
    val fillValue: Int = 114,
    val scaleUp: Boolean = true,
    val center: Boolean = true,
    val cropOffset: String = "round",
)

/** A factor for each axis. */
data class Gain(val y: Double, val x: Double)

/** Pixels from the top left corner; negative ones are cut off. */
data class Offset(val top: Int, val left: Int)

/** Where a picture of size [source] lies in the model's input: `input = source * gain + offset`, for each axis. */
data class Geometry(val source: Size, val gain: Gain, val offset: Offset) {
    /** Boxes x1 y1 x2 y2 from input pixels to source pixels, clamped to the picture. */
    internal fun toSource(boxes: Rows): Rows = Rows(boxes.count, 4) { row, column -> place(boxes[row, column], column % 2 == 0) }

    /** Keypoints x y confidence from input pixels to source pixels, clamped to the picture. */
    internal fun pointsToSource(points: Rows): Rows = Rows(points.count, points.width) { row, column ->
        if (column % 3 == 2) points[row, column] else place(points[row, column], column % 3 == 0)
    }

    /** Rotated boxes cx cy w h angle to source pixels; not clamped, as they could not keep their shape. */
    internal fun rotatedToSource(boxes: Rows): Rows = Rows(boxes.count, 5) { row, column ->
        val value = boxes[row, column]
        when (column) {
            0 -> (value - offset.left) / gain.x.toFloat()
            1 -> (value - offset.top) / gain.y.toFloat()
            2 -> value / gain.x.toFloat()
            3 -> value / gain.y.toFloat()
            else -> value
        }
    }

    private fun place(value: Float, isAcross: Boolean): Float {
        val moved = value - (if (isAcross) offset.left else offset.top).toFloat()
        val scaled = moved / (if (isAcross) gain.x else gain.y).toFloat()
        return scaled.coerceIn(0f, (if (isAcross) source.width else source.height).toFloat())
    }
}

/** The resized picture's size, where its top left corner lies in the input, and what surrounds it. */
internal data class Placement(val resized: Size, val offset: Offset, val fill: Int)

/** Keep the aspect ratio, pad the rest; the rounding is that of Ultralytics. */
internal fun letterbox(spec: Resize, source: Size): Placement {
    var ratio = min(spec.size.height.toDouble() / source.height, spec.size.width.toDouble() / source.width)
    if (!spec.scaleUp) ratio = min(ratio, 1.0)
    val resized = Size(max(rounded(source.height * ratio), 1), max(rounded(source.width * ratio), 1))
    val top = rounded((spec.size.height - resized.height) / 2.0 - 0.1)
    val left = rounded((spec.size.width - resized.width) / 2.0 - 0.1)
    return Placement(resized, if (spec.center) Offset(top, left) else Offset(0, 0), spec.fillValue)
}

/** Both sides to the input size. */
internal fun stretch(spec: Resize, source: Size): Placement = Placement(spec.size, Offset(0, 0), CROP_FILL)

/** Short side to `resize_to`, the long side truncated, then the centre; as torchvision's Resize(int) and CenterCrop. */
internal fun shortSideCrop(spec: Resize, source: Size): Placement {
    val target = (spec.resizeTo ?: spec.size).height
    val resized = if (source.height <= source.width) {
        Size(target, (target.toDouble() * source.width / source.height).toInt())
    } else {
        Size((target.toDouble() * source.height / source.width).toInt(), target)
    }
    return centreCut(spec, resized)
}

/** Both sides to `resize_to`, then the centre. */
internal fun stretchCrop(spec: Resize, source: Size): Placement = centreCut(spec, spec.resizeTo ?: spec.size)

private fun centreCut(spec: Resize, resized: Size): Placement {
    val half = CROP_OFFSETS.getValue(spec.cropOffset)
    fun start(want: Int, have: Int): Int = if (want > have) (want - have) / 2 else -half((have - want) / 2.0)
    val offset = Offset(start(spec.size.height, resized.height), start(spec.size.width, resized.width))
    return Placement(resized, offset, CROP_FILL)
}

/** To the nearest integer, halves to the even one. */
internal fun rounded(value: Double): Int = round(value).toInt()

/** torchvision rounds half a pixel to even, Hugging Face cuts it off. */
internal val CROP_OFFSETS: Map<String, (Double) -> Int> = mapOf("round" to ::rounded, "truncate" to Double::toInt)

/** `preprocessing.resize.method` of metadata.json. */
internal val METHODS: Map<String, (Resize, Size) -> Placement> = mapOf(
    "letterbox" to ::letterbox,
    "stretch" to ::stretch,
    "short_side_crop" to ::shortSideCrop,
    "stretch_crop" to ::stretchCrop,
)

/** Where a picture of [source] lies in the input, and the way back; ImageError for one so thin that it would become giant. */
internal fun locate(source: Size, spec: Resize): Pair<Placement, Geometry> {
    val placement = METHODS.getValue(spec.method)(spec, source)
    val (height, width) = placement.resized
    if (height.toLong() * width > MAX_RESIZED_PIXELS) {
        throw ImageError("image_too_large", "the picture of ${source.width} x ${source.height} pixels is too long and thin")
    }
    val gain = Gain(height.toDouble() / source.height, width.toDouble() / source.width)
    return placement to Geometry(source, gain, placement.offset)
}

/** The picture at the model's input size, and its geometry; raises as [locate] does. */
internal fun fit(image: RgbImage, spec: Resize): Pair<RgbImage, Geometry> {
    val (placement, geometry) = locate(image.size, spec)
    return place(resize(image, placement.resized, spec.kernel), spec.size, placement) to geometry
}

private fun place(image: RgbImage, size: Size, placement: Placement): RgbImage {
    val (top, left) = placement.offset
    if (top == 0 && left == 0 && image.size == size) return image
    val canvas = ByteArray(size.height * size.width * 3)
    if (placement.fill != 0) canvas.fill(placement.fill.toByte())
    val firstColumn = max(left, 0)
    val lastColumn = min(left + image.width, size.width)
    for (y in max(top, 0) until min(top + image.height, size.height)) {
        val from = ((y - top) * image.width + firstColumn - left) * 3
        image.pixels.copyInto(canvas, (y * size.width + firstColumn) * 3, from, from + (lastColumn - firstColumn) * 3)
    }
    return RgbImage(size.width, size.height, canvas)
}
