package modelport.processing

/** Of all masks of one picture together: noise would make the answer larger than the picture. */
internal const val MAX_RUNS = 1 shl 20

/**
 * Pixels of a picture of [size], as COCO's uncompressed run lengths.
 *
 * [counts] go down the columns, left to right, and begin with the number of pixels outside.
 */
class Mask(val size: Size, val counts: IntArray) {
    /** How many pixels are inside. */
    val area: Int get() = (1 until counts.size step 2).sumOf { counts[it] }

    /** Whether each pixel is inside, row by row. */
    fun pixels(): BooleanArray {
        val inside = BooleanArray(size.height * size.width)
        var at = 0
        counts.forEachIndexed { index, count ->
            if (index % 2 == 1) {
                for (place in at until at + count) inside[place % size.height * size.width + place / size.height] = true
            }
            at += count
        }
        return inside
    }

    override fun equals(other: Any?): Boolean = other is Mask && size == other.size && counts.contentEquals(other.counts)

    override fun hashCode(): Int = 31 * size.hashCode() + counts.contentHashCode()

    override fun toString(): String = "Mask(size=$size, ${counts.size} counts)"
}

/** A part of a picture that begins at row [top] and column [left]; [inside] tells of each pixel, row by row. */
internal class Patch(val top: Int, val left: Int, val height: Int, val width: Int, val inside: BooleanArray)

/** The mask of a picture of [size] whose pixels lie in [patch]. */
internal fun encode(patch: Patch, size: Size): Mask {
    val runs = Runs()
    for (x in 0 until patch.width) {
        val column = (patch.left + x) * size.height + patch.top
        var start = -1
        for (y in 0 until patch.height) {
            val isInside = patch.inside[y * patch.width + x]
            if (isInside && start < 0) start = y
            if (!isInside && start >= 0) {
                runs.add(column + start, column + y)
                start = -1
            }
        }
        if (start >= 0) runs.add(column + start, column + patch.height)
    }
    checkRuns(2L * runs.added)
    return runs.mask(size)
}

/** Pixels from starts to before ends, counted down the columns, added in ascending order; runs that touch become one. */
internal class Runs {
    private var borders = IntArray(16)
    private var length = 0

    /** How many were added, before those that touch became one. */
    var added = 0
        private set

    fun add(start: Int, end: Int) {
        added++
        if (length > 0 && borders[length - 1] == start) {
            borders[length - 1] = end
            return
        }
        if (length + 2 > borders.size) borders = borders.copyOf(borders.size * 2)
        borders[length++] = start
        borders[length++] = end
    }

    fun mask(size: Size): Mask {
        val total = size.height * size.width
        val isOpen = length == 0 || borders[length - 1] < total
        val counts = IntArray(length + if (isOpen) 1 else 0) { index ->
            val border = if (index < length) borders[index] else total
            border - if (index > 0) borders[index - 1] else 0
        }
        return Mask(size, counts)
    }
}

/** AnswerError where so many would be too large an answer. */
internal fun checkRuns(number: Long) {
    if (number > MAX_RUNS) {
        throw AnswerError(
            "the masks of this picture need more than $MAX_RUNS numbers; a smaller picture, a higher " +
                "confidence_threshold or a lower max_detections gives fewer",
        )
    }
}
