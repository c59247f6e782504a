package modelport.processing

import kotlin.math.cos
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sin
import kotlin.math.sqrt

/**
 * Rotated boxes cx cy w h angle (radians): their overlap, suppression and corners, with the trainer's float32 arithmetic.
 *
 * The overlap is Ultralytics' probabilistic IoU (https://arxiv.org/pdf/2106.06072v1.pdf): boxes are Gaussians, compared by the
 * Hellinger distance. Its suppression differs from the greedy one: a box goes if it overlaps any better box of its class, even
 * one that went itself.
 */
internal object Rotated {
    private const val EPSILON = 1e-7f

    /** Indices of the boxes to keep, best first, at most [limit]. */
    fun suppress(boxes: Rows, scores: FloatArray, classes: IntArray, iou: Double, limit: Int, isAgnostic: Boolean): IntArray {
        val order = best(scores, MAX_CANDIDATES)
        val apart = moved(boxes, order, classes, isAgnostic, coordinates = 2)
        val gaussians = Array(order.size) { covariance(apart, it) }
        val threshold = iou.toFloat()
        val kept = IntArray(min(limit, order.size))
        var count = 0
        for (row in order.indices) {
            if (count == limit) break
            if ((0 until row).none { overlap(apart, gaussians, it, row) > threshold }) kept[count++] = row
        }
        return IntArray(count) { order[kept[it]] }
    }

    /** Probabilistic IoU of two rows. */
    private fun overlap(boxes: Rows, gaussians: Array<Covariance>, a: Int, b: Int): Float {
        val (a1, b1, c1) = gaussians[a]
        val (a2, b2, c2) = gaussians[b]
        val dx = boxes[b, 0] - boxes[a, 0]
        val dy = boxes[a, 1] - boxes[b, 1]
        val wide = a1 + a2
        val high = b1 + b2
        val mixed = c1 + c2
        val spread = wide * high - mixed * mixed
        val near = (wide * (dy * dy) + high * (dx * dx)) / (spread + EPSILON) * 0.25f
        val turned = (mixed * dx * dy) / (spread + EPSILON) * 0.5f
        val own = max(a1 * b1 - c1 * c1, 0f) * max(a2 * b2 - c2 * c2, 0f)
        val shape = ln(spread / (4 * sqrt(own) + EPSILON) + EPSILON) * 0.5f
        val distance = (near + turned + shape).coerceIn(EPSILON, 100f)
        return 1 - sqrt(1f - exp(-distance) + EPSILON)
    }

    /** Of the Gaussian [[a, c], [c, b]] that stands for a box. */
    private data class Covariance(val a: Float, val b: Float, val c: Float)

    private fun covariance(boxes: Rows, row: Int): Covariance {
        val w = boxes[row, 2] * boxes[row, 2] / 12f
        val h = boxes[row, 3] * boxes[row, 3] / 12f
        val cos = cos(boxes[row, 4])
        val sin = sin(boxes[row, 4])
        return Covariance(w * (cos * cos) + h * (sin * sin), w * (sin * sin) + h * (cos * cos), (w - h) * cos * sin)
    }

    /** The upright boxes x1 y1 x2 y2 around rotated ones; they may reach beyond the picture, as their boxes do. */
    fun enclosing(boxes: Rows): Rows {
        val corners = Array(boxes.count) { corners(boxes, it) }
        return Rows(boxes.count, 4) { row, column ->
            val places = corners[row].map { if (column % 2 == 0) it.first else it.second }
            if (column < 2) places.reduce(::min) else places.reduce(::max)
        }
    }

    /** The four corners of a box, x and y. */
    fun corners(boxes: Rows, row: Int): List<Pair<Float, Float>> {
        val cos = cos(boxes[row, 4])
        val sin = sin(boxes[row, 4])
        val width = boxes[row, 2] / 2f
        val height = boxes[row, 3] / 2f
        val along = width * cos to width * sin
        val beside = -height * sin to height * cos
        return listOf(1f to 1f, 1f to -1f, -1f to -1f, -1f to 1f).map { (one, other) ->
            boxes[row, 0] + one * along.first + other * beside.first to boxes[row, 1] + one * along.second + other * beside.second
        }
    }
}
