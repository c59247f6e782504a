package modelport.processing

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round
import kotlin.math.sin

/*
 * Resampling, exact to the bit: what OpenCV and Pillow do with uint8 pixels, in integers.
 */

private const val PIL_BITS = 22
private const val CHANNELS = 3

/** A method of resampling: a picture and the size wanted to a picture of that size. */
internal typealias Kernel = (RgbImage, Size) -> RgbImage

/** `preprocessing.resize.kernel` of metadata.json. */
internal val KERNELS: Map<String, Kernel> = mapOf(
    "cv2_linear_u8" to ::cv2LinearU8,
    "pil_nearest" to ::pilNearest,
    "pil_bilinear" to { image, size -> pilConvolution(image, size, Filter(1.0, ::triangle)) },
    "pil_bicubic" to { image, size -> pilConvolution(image, size, Filter(2.0, ::cubic)) },
    "pil_lanczos" to { image, size -> pilConvolution(image, size, Filter(3.0, ::lanczos)) },
)

/** [image] resampled to [size], perhaps [image] itself where nothing changes; MetadataError for an unknown kernel. */
internal fun resize(image: RgbImage, size: Size, kernel: String): RgbImage {
    val resample = KERNELS[kernel]
        ?: throw MetadataError("preprocessing.resize.kernel", "'$kernel' is unknown; known: ${KERNELS.keys.joinToString()}")
    return if (image.size == size) image else resample(image, size)
}

/** OpenCV's INTER_LINEAR on uint8: 11-bit weights, two roundings, and a 2x2 mean at exactly half the size. */
internal fun cv2LinearU8(image: RgbImage, size: Size): RgbImage {
    if (image.height == 2 * size.height && image.width == 2 * size.width) return half(image, size)
    val columns = cv2Taps(image.width, size.width, clampFraction = true)
    val rows = cv2Taps(image.height, size.height, clampFraction = false)
    val line = size.width * CHANNELS
    val out = ByteArray(size.height * line)
    var upper = CachedLine(line)
    var lower = CachedLine(line)
    for (y in 0 until size.height) {
        if (lower.row == rows.first[y]) upper = lower.also { lower = upper }
        upper.load(image, rows.first[y], columns)
        lower.load(image, rows.second[y], columns)
        val b0 = rows.firstWeight[y]
        val b1 = rows.secondWeight[y]
        for (i in 0 until line) {
            val mixed = ((b0 * upper.values[i]) shr 16) + ((b1 * lower.values[i]) shr 16)
            out[y * line + i] = ((mixed + 2) shr 2).coerceIn(0, 255).toByte()
        }
    }
    return RgbImage(size.width, size.height, out)
}

private fun half(image: RgbImage, size: Size): RgbImage {
    val line = image.width * CHANNELS
    val out = ByteArray(size.height * size.width * CHANNELS)
    var at = 0
    for (y in 0 until size.height) for (x in 0 until size.width) for (channel in 0 until CHANNELS) {
        val from = 2 * y * line + 2 * x * CHANNELS + channel
        val total = image.byte(from) + image.byte(from + CHANNELS) + image.byte(from + line) + image.byte(from + line + CHANNELS)
        out[at++] = ((total + 2) shr 2).toByte()
    }
    return RgbImage(size.width, size.height, out)
}

/** Both neighbours of each output index and their weights in 1/2048. */
private class Cv2Taps(val first: IntArray, val second: IntArray, val firstWeight: IntArray, val secondWeight: IntArray)

/** One row of a picture, resampled horizontally; remembers which it is. */
private class CachedLine(length: Int) {
    val values = IntArray(length)
    var row = -1
        private set

    fun load(image: RgbImage, wanted: Int, columns: Cv2Taps) {
        if (row == wanted) return
        row = wanted
        val start = wanted * image.width * CHANNELS
        var at = 0
        for (x in columns.first.indices) {
            val left = start + columns.first[x] * CHANNELS
            val right = start + columns.second[x] * CHANNELS
            for (channel in 0 until CHANNELS) {
                val mixed = image.byte(left + channel) * columns.firstWeight[x] + image.byte(right + channel) * columns.secondWeight[x]
                values[at++] = mixed shr 4
            }
        }
    }
}

/** The vertical axis keeps its fraction at the borders, the horizontal one does not. */
private fun cv2Taps(source: Int, target: Int, clampFraction: Boolean): Cv2Taps {
    val scale = 1.0 / (target.toDouble() / source)
    val taps = Cv2Taps(IntArray(target), IntArray(target), IntArray(target), IntArray(target))
    for (i in 0 until target) {
        val position = ((i + 0.5) * scale - 0.5).toFloat()
        var first = floor(position).toInt()
        var fraction = position - first.toFloat()
        if (clampFraction) {
            if (first < 0 || first >= source - 1) fraction = 0f
            first = first.coerceIn(0, source - 1)
        }
        taps.firstWeight[i] = round((1f - fraction) * 2048f).toInt()
        taps.secondWeight[i] = round(fraction * 2048f).toInt()
        taps.first[i] = first.coerceIn(0, source - 1)
        taps.second[i] = (first + 1).coerceIn(0, source - 1)
    }
    return taps
}

/** A weight for each distance from the centre, nothing beyond [radius]. */
private class Filter(val radius: Double, val weight: (Double) -> Double)

private fun triangle(x: Double): Double = max(1.0 - abs(x), 0.0)

private fun cubic(distance: Double): Double {
    val a = -0.5
    val x = abs(distance)
    return when {
        x < 1.0 -> ((a + 2.0) * x - (a + 3.0)) * x * x + 1
        x < 2.0 -> (((x - 5) * x + 8) * x - 4) * a
        else -> 0.0
    }
}

private fun lanczos(x: Double): Double = if (x >= -3.0 && x < 3.0) sinc(x) * sinc(x / 3) else 0.0

private fun sinc(x: Double): Double = if (x == 0.0) 1.0 else sin(PI * x) / (PI * x)

/**
 * Pillow's antialiased resampling: two passes, uint8 in between, 22-bit integer weights.
 *
 * Horizontal first, as ever; since Pillow 13 vertical first where the height shrinks by more than twice what the width does.
 */
private fun pilConvolution(image: RgbImage, size: Size, filter: Filter): RgbImage {
    val shrinks = image.height - size.height
    val isVerticalFirst = shrinks > 0 && shrinks > 2 * (image.width - size.width)
    val passes = if (isVerticalFirst) listOf(true, false) else listOf(false, true)
    return passes.fold(image) { picture, isVertical ->
        val source = if (isVertical) picture.height else picture.width
        val target = if (isVertical) size.height else size.width
        if (source == target) picture else pilPass(picture, pilTaps(source, target, filter), isVertical)
    }
}

/** For each output index the first input index and the weights of that and those that follow. */
private class PilTaps(val first: IntArray, val weights: Array<IntArray>)

private fun pilPass(image: RgbImage, taps: PilTaps, isVertical: Boolean): RgbImage {
    val width = if (isVertical) image.width else taps.first.size
    val height = if (isVertical) taps.first.size else image.height
    val step = if (isVertical) image.width * CHANNELS else CHANNELS
    val out = ByteArray(width * height * CHANNELS)
    var at = 0
    for (y in 0 until height) for (x in 0 until width) {
        val tap = if (isVertical) y else x
        val weights = taps.weights[tap]
        val start = CHANNELS * if (isVertical) taps.first[tap] * image.width + x else y * image.width + taps.first[tap]
        for (channel in 0 until CHANNELS) {
            var total = 1 shl (PIL_BITS - 1)
            var from = start + channel
            for (weight in weights) {
                total += image.byte(from) * weight
                from += step
            }
            out[at++] = (total shr PIL_BITS).coerceIn(0, 255).toByte()
        }
    }
    return RgbImage(width, height, out)
}

private fun pilTaps(source: Int, target: Int, filter: Filter): PilTaps {
    val scale = source.toDouble() / target
    val filterScale = max(scale, 1.0)
    val support = filter.radius * filterScale
    val first = IntArray(target)
    val weights = Array(target) { index ->
        val centre = (index + 0.5) * scale
        val start = max((centre - support + 0.5).toInt(), 0)
        val end = min((centre + support + 0.5).toInt(), source)
        first[index] = start
        val exact = DoubleArray(end - start) { filter.weight((it + start - centre + 0.5) * (1.0 / filterScale)) }
        val total = exact.fold(0.0, Double::plus)
        IntArray(exact.size) { fixed(exact[it] / total) }
    }
    return PilTaps(first, weights)
}

/** A weight in 1/2^22, half away from zero. */
private fun fixed(weight: Double): Int {
    val scaled = weight * (1 shl PIL_BITS)
    return (if (scaled < 0) scaled - 0.5 else scaled + 0.5).toInt()
}

/** Pillow's nearest neighbour; positions are summed up step by step, as it does. */
internal fun pilNearest(image: RgbImage, size: Size): RgbImage {
    val rows = pilSteps(image.height, size.height)
    val columns = pilSteps(image.width, size.width)
    val out = ByteArray(size.height * size.width * CHANNELS)
    var at = 0
    for (row in rows) for (column in columns) {
        val from = (row * image.width + column) * CHANNELS
        for (channel in 0 until CHANNELS) out[at++] = image.pixels[from + channel]
    }
    return RgbImage(size.width, size.height, out)
}

private fun pilSteps(source: Int, target: Int): IntArray {
    val step = source.toDouble() / target
    var position = step * 0.5
    return IntArray(target) { min(position.toInt(), source - 1).also { position += step } }
}

private fun RgbImage.byte(at: Int): Int = pixels[at].toInt() and 0xFF
