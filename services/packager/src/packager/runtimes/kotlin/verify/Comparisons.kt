package modelport.verify

import java.util.Locale
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import modelport.processing.Box
import modelport.processing.FloatTensor
import modelport.processing.GoldenError
import modelport.processing.Keypoint
import modelport.processing.Mask
import modelport.processing.Prediction
import modelport.processing.RotatedBox
import modelport.processing.Size

/*
 * How far answers are apart. The rules are those of every language: see runtimes/python/verify.py.
 */

/** How far predictions may be apart; [mask] is of 1 - IoU. */
internal data class Tolerance(val confidence: Double, val pixels: Double, val mask: Double) {
    constructor(entry: Entry) : this(entry.double("confidence"), entry.double("pixels"), entry.double("mask"))

    fun worst(other: Tolerance) =
        Tolerance(max(confidence, other.confidence), max(pixels, other.pixels), max(mask, other.mask))

    fun holds(found: Tolerance): Boolean = found.confidence <= confidence && found.pixels <= pixels && found.mask <= mask
}

/** What a comparison found. */
internal class Verdict(val passed: Boolean, val detail: String)

/** A prediction as the golden file holds it. */
internal fun prediction(entry: Entry): Prediction = Prediction(
    classId = entry.int("class_id"),
    className = entry.text("class_name"),
    confidence = entry.double("confidence").toFloat(),
    bbox = floats(entry, "bbox", 4)?.let { Box(it[0], it[1], it[2], it[3]) },
    rotatedBox = floats(entry, "rotated_box", 5)?.let { RotatedBox(it[0], it[1], it[2], it[3], it[4]) },
    keypoints = if (entry.has("keypoints")) entry.list("keypoints").map(::keypoint) else null,
    mask = if (entry.has("mask")) mask(entry.entry("mask")) else null,
)

private fun floats(entry: Entry, name: String, count: Int): List<Float>? {
    if (!entry.has(name)) return null
    return entry.numbers(name).map(Number::toFloat).also { if (it.size != count) throw GoldenError("has a '$name' of ${it.size} numbers") }
}

private fun keypoint(value: Any?): Keypoint {
    val (x, y, confidence) = (value as? List<*> ?: throw GoldenError("has a keypoint that is no list")).map { (it as Number).toFloat() }
    return Keypoint(x, y, confidence)
}

private fun mask(entry: Entry): Mask {
    val (height, width) = entry.ints("size")
    return Mask(Size(height, width), entry.ints("counts").toIntArray())
}

/**
 * Every prediction has its counterpart of the same class, all that belongs to it within the tolerances.
 *
 * One that is within tolerance of the [threshold] (null: of the end of the list) may be missing on either side, and so may a region
 * of a thousandth of the picture.
 */
internal fun compare(
    got: List<Prediction>,
    expected: List<Prediction>,
    threshold: Double?,
    tolerance: Tolerance,
    hasBoxes: Boolean,
): Verdict {
    val rest = got.toMutableList()
    val alone = mutableListOf<Prediction>()
    var worst = Tolerance(0.0, 0.0, 0.0)
    for (wanted in expected) {
        val sameClass = rest.filter { it.classId == wanted.classId && it.className == wanted.className }
        val apart = sameClass.map { distance(wanted, it, hasBoxes) }
        val nearest = apart.indices.minWithOrNull(compareBy({ apart[it].pixels }, { apart[it].mask }, { apart[it].confidence }))
        if (nearest == null) {
            alone += wanted
        } else {
            rest.remove(sameClass[nearest])
            worst = worst.worst(apart[nearest])
        }
    }
    val floor = threshold ?: expected.minOfOrNull { it.confidence.toDouble() } ?: 0.0
    val missed = (alone + rest).filter { it.confidence > floor + tolerance.confidence && !isSpeck(it) }
    val told = String.format(
        Locale.ROOT,
        "%d predictions for %d expected, confidence %.1e, %.1e pixels, masks %.1e apart",
        got.size, expected.size, worst.confidence, worst.pixels, worst.mask,
    )
    val without = missed.firstOrNull()?.let { "; without counterpart: ${it.className} ${it.confidence}" }.orEmpty()
    return Verdict(missed.isEmpty() && tolerance.holds(worst), told + without)
}

/** The differences of two predictions; of a rotated box, the farthest corner's. */
internal fun distance(a: Prediction, b: Prediction, hasBoxes: Boolean): Tolerance {
    val isRotated = a.rotatedBox != null
    val boxes = if (hasBoxes || isRotated) apart(a.bbox?.numbers(), b.bbox?.numbers()) else 0.0
    val centres = if (isRotated) apart(a.rotatedBox.centre(), b.rotatedBox?.centre()) else 0.0
    val points = apart(a.keypoints?.flatMap { listOf(it.x, it.y) }, b.keypoints?.flatMap { listOf(it.x, it.y) })
    val masks = if (a.mask == null && b.mask == null) 0.0 else 1 - intersectionOverUnion(a.mask, b.mask)
    return Tolerance(abs(a.confidence - b.confidence).toDouble(), maxOf(boxes, centres, points), masks)
}

private fun Box.numbers(): List<Float> = listOf(x1, y1, x2, y2)

private fun RotatedBox.centre(): List<Float> = listOf(cx, cy)

/** The largest difference; infinite where one has what the other lacks. */
private fun apart(a: List<Float>?, b: List<Float>?): Double {
    if (a == null && b == null) return 0.0
    if (a?.size != b?.size) return Double.POSITIVE_INFINITY
    return a.orEmpty().zip(b.orEmpty()) { x, y -> abs(x.toDouble() - y) }.maxOrNull() ?: 0.0
}

private fun intersectionOverUnion(a: Mask?, b: Mask?): Double {
    if (a == null || b == null || a.size != b.size) return 0.0
    val one = a.pixels()
    val other = b.pixels()
    val shared = one.indices.count { one[it] && other[it] }
    return shared / max((a.area + b.area - shared).toDouble(), 1.0)
}

/** Whether it is a mask of less than a thousandth of the picture. */
private fun isSpeck(prediction: Prediction): Boolean =
    prediction.mask?.let { it.area < it.size.height.toDouble() * it.size.width / 1000 } ?: false

/** Largest absolute difference over the largest absolute value; infinite for another number of values. */
internal fun relativeDifference(got: FloatArray, expected: FloatArray): Double {
    if (got.size != expected.size) return Double.POSITIVE_INFINITY
    val difference = got.indices.fold(0.0) { worst, i -> max(worst, abs(got[i].toDouble() - expected[i])) }
    return difference / scale(expected)
}

/** Like [relativeDifference], for rows in any order that several outputs [1, rows, …] hold together. */
internal fun setDifference(got: List<FloatTensor>, expected: List<FloatTensor>): Double {
    if (got.map { it.shape } != expected.map { it.shape }) return Double.POSITIVE_INFINITY
    val scales = expected.map { scale(it.values) }
    val a = rowsOf(got, scales)
    val b = rowsOf(expected, scales)
    val nearestA = DoubleArray(a.size) { Double.POSITIVE_INFINITY }
    val nearestB = DoubleArray(b.size) { Double.POSITIVE_INFINITY }
    for (i in a.indices) for (j in b.indices) {
        val apart = a[i].indices.fold(0.0) { worst, k -> max(worst, abs(a[i][k] - b[j][k])) }
        nearestA[i] = min(nearestA[i], apart)
        nearestB[j] = min(nearestB[j], apart)
    }
    return max(nearestA.maxOrNull() ?: 0.0, nearestB.maxOrNull() ?: 0.0)
}

private fun scale(values: FloatArray): Double = max(values.fold(0.0) { worst, value -> max(worst, abs(value.toDouble())) }, 1e-12)

private fun rowsOf(parts: List<FloatTensor>, scales: List<Double>): List<DoubleArray> = List(parts[0].shape[1]) { row ->
    parts.zip(scales).flatMap { (part, scale) ->
        val width = part.values.size / part.shape[1]
        List(width) { part.values[row * width + it] / scale }
    }.toDoubleArray()
}
