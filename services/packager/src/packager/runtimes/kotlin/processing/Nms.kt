package modelport.processing

import kotlin.math.max
import kotlin.math.min

/** Boxes of different classes are moved this many pixels apart, as Ultralytics does, so that they never overlap. */
internal const val CLASS_OFFSET = 7680f
internal const val MAX_CANDIDATES = 30_000

/** Greedy non-maximum suppression, class-aware; the order and the float32 arithmetic are the trainer's. */
internal object Nms {
    /**
     * Indices of the boxes x1 y1 x2 y2 to keep, best first, at most [limit].
     *
     * A box goes if its IoU with a kept, better one of its class is greater than [iou]; equal scores keep their order.
     */
    fun suppress(boxes: Rows, scores: FloatArray, classes: IntArray, iou: Double, limit: Int, isAgnostic: Boolean): IntArray {
        val order = best(scores, MAX_CANDIDATES)
        val apart = moved(boxes, order, classes, isAgnostic, coordinates = 4)
        val threshold = iou.toFloat()
        val kept = IntArray(min(limit, order.size))
        var count = 0
        for (row in order.indices) {
            if (count == limit) break
            if ((0 until count).none { overlap(apart, kept[it], row) > threshold }) kept[count++] = row
        }
        return IntArray(count) { order[kept[it]] }
    }

    /** Intersection over union of two rows; an empty pair gives NaN, which suppresses nothing. */
    fun overlap(boxes: Rows, a: Int, b: Int): Float {
        val width = max(min(boxes[a, 2], boxes[b, 2]) - max(boxes[a, 0], boxes[b, 0]), 0f)
        val height = max(min(boxes[a, 3], boxes[b, 3]) - max(boxes[a, 1], boxes[b, 1]), 0f)
        val shared = width * height
        return shared / (area(boxes, a) + area(boxes, b) - shared)
    }

    private fun area(boxes: Rows, row: Int): Float = (boxes[row, 2] - boxes[row, 0]) * (boxes[row, 3] - boxes[row, 1])
}

/** Indices of the highest scores, at most [limit]. */
internal fun best(scores: FloatArray, limit: Int): IntArray = descending(scores).let { it.copyOf(min(limit, it.size)) }

/** Boxes in that order, those of different classes far apart along their first [coordinates] numbers. */
internal fun moved(boxes: Rows, order: IntArray, classes: IntArray, isAgnostic: Boolean, coordinates: Int): Rows =
    Rows(order.size, boxes.width) { row, column ->
        val value = boxes[order[row], column]
        if (isAgnostic || column >= coordinates) value else value + classes[order[row]].toFloat() * CLASS_OFFSET
    }
