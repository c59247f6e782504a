package modelport.processing

import kotlin.math.max
import kotlin.math.min

/*
 * Bilinear resampling of float32 planes with half-pixel centres, as torch's `interpolate(align_corners=False)` does it:
 * separable, so that any part of the answer can be computed alone.
 */

/** Numbers row by row. */
internal class Plane(val height: Int, val width: Int, val values: FloatArray)

/** Of each output index both neighbours in the input, and how much the second weighs (0 to 1). */
internal class Taps(val first: IntArray, val second: IntArray, val weight: FloatArray) {
    val size: Int get() = first.size

    /** Those of the outputs from [start] to before [stop]. */
    fun part(start: Int, stop: Int): Taps =
        Taps(first.copyOfRange(start, stop), second.copyOfRange(start, stop), weight.copyOfRange(start, stop))

    /** The input indices that are needed. */
    fun span(): IntRange = first.first()..second.last()

    /** The same where the input lacks its first [by] values. */
    fun moved(by: Int): Taps = Taps(
        IntArray(size) { first[it] - by },
        IntArray(size) { second[it] - by },
        weight,
    )
}

/** Of one axis: `(i + 0.5) * source / target - 0.5`, never below 0, in float32. */
internal fun taps(source: Int, target: Int): Taps {
    val scale = source.toFloat() / target.toFloat()
    val positions = FloatArray(target) { max((it.toFloat() + 0.5f) * scale - 0.5f, 0f) }
    val first = IntArray(target) { min(positions[it].toInt(), source - 1) }
    return Taps(
        first,
        IntArray(target) { min(first[it] + 1, source - 1) },
        FloatArray(target) { min(positions[it] - first[it].toFloat(), 1f) },
    )
}

/** The rows of [plane] resampled to the width of [columns]. */
internal fun across(plane: Plane, columns: Taps): Plane {
    val out = FloatArray(plane.height * columns.size)
    for (y in 0 until plane.height) acrossRow(plane.values, y * plane.width, columns, out, y * columns.size)
    return Plane(plane.height, columns.size, out)
}

/** One row of [values], which begins at [start], resampled into [out] from [at] on. */
internal fun acrossRow(values: FloatArray, start: Int, columns: Taps, out: FloatArray, at: Int) {
    for (x in 0 until columns.size) {
        val weight = columns.weight[x]
        out[at + x] = values[start + columns.first[x]] * (1f - weight) + values[start + columns.second[x]] * weight
    }
}

/** The columns of [plane] resampled to the height of [rows]. */
internal fun down(plane: Plane, rows: Taps): Plane {
    val out = FloatArray(rows.size * plane.width)
    for (y in 0 until rows.size) {
        val weight = rows.weight[y]
        val upper = rows.first[y] * plane.width
        val lower = rows.second[y] * plane.width
        for (x in 0 until plane.width) {
            out[y * plane.width + x] = plane.values[upper + x] * (1f - weight) + plane.values[lower + x] * weight
        }
    }
    return Plane(rows.size, plane.width, out)
}

/** Both, horizontally first. */
internal fun resample(plane: Plane, rows: Taps, columns: Taps): Plane = down(across(plane, columns), rows)
