package modelport.processing

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

/*
 * Semantic segmentation: logits resampled to the picture's size, the best class of each pixel, one prediction a class. The
 * resampling is that of transformers' `post_process_semantic_segmentation(target_sizes=…)`, done row by row.
 */

/** Classes times pixels of one picture. */
private const val MAX_LOGITS = 1L shl 31

/** All pixels of one class; [box] encloses them, its last edges being one past the last pixel. */
internal class ClassRegion(val classId: Int, val confidence: Double, val box: Box, val mask: Mask)

/**
 * The classes of a picture of size [source], largest area first; [logits] is [classes, height, width].
 *
 * The confidence is the mean, over the pixels of a class, of its softmax probability. AnswerError where classes times pixels are
 * too many, or the classes so scattered that the masks would be.
 */
internal fun regions(logits: FloatTensor, source: Size): List<ClassRegion> {
    val classes = logits.shape[0]
    if (classes.toLong() * source.height * source.width > MAX_LOGITS) {
        throw AnswerError("$classes classes of a picture of ${source.width} x ${source.height} pixels are too many")
    }
    val labels = Labels(source, classes)
    RowLabeller(logits, source).label(labels)
    return labels.regions().sortedWith(compareBy({ -it.mask.area }, { it.classId }))
}

/** The best class of each pixel, row by row, and for each class the sum of its probabilities where it is best. */
private class Labels(val size: Size, classes: Int) {
    val values = IntArray(size.height * size.width)
    val totals = DoubleArray(classes)

    fun regions(): List<ClassRegion> {
        val found = sortedMapOf<Int, Extent>()
        var segments = 0L
        for (x in 0 until size.width) {
            var start = 0
            for (y in 1..size.height) {
                val label = values[start * size.width + x]
                if (y < size.height && values[y * size.width + x] == label) continue
                found.getOrPut(label) { Extent(x, size.height) }.add(x, start, y)
                start = y
                segments++
            }
        }
        checkRuns(2 * segments)
        return found.map { (label, extent) ->
            val mask = extent.runs.mask(size)
            ClassRegion(label, totals[label] / mask.area, extent.box(), mask)
        }
    }
}

/** The pixels of one class, added column by column. */
private class Extent(private val left: Int, height: Int) {
    val runs = Runs()
    private val columnLength = height
    private var right = left
    private var top = height
    private var bottom = 0

    fun add(column: Int, start: Int, end: Int) {
        runs.add(column * columnLength + start, column * columnLength + end)
        right = column + 1
        top = min(top, start)
        bottom = max(bottom, end)
    }

    fun box(): Box = Box(left.toFloat(), top.toFloat(), right.toFloat(), bottom.toFloat())
}

/** Resamples the logits of all classes one row of the picture at a time. */
private class RowLabeller(private val logits: FloatTensor, private val source: Size) {
    private val classes = logits.shape[0]
    private val rows = taps(logits.shape[1], source.height)
    private val columns = taps(logits.shape[2], source.width)
    private var upper = FloatArray(classes * source.width)
    private var lower = FloatArray(classes * source.width)
    private var upperRow = -1
    private var lowerRow = -1

    fun label(into: Labels) {
        val mixed = FloatArray(classes)
        for (y in 0 until source.height) {
            load(rows.first[y], rows.second[y])
            for (x in 0 until source.width) {
                for (label in 0 until classes) {
                    val at = label * source.width + x
                    mixed[label] = upper[at] * (1f - rows.weight[y]) + lower[at] * rows.weight[y]
                }
                val best = highest(mixed, 0, classes)
                into.values[y * source.width + x] = best
                into.totals[best] += likely(mixed, mixed[best]).toDouble()
            }
        }
    }

    private fun load(first: Int, second: Int) {
        if (lowerRow == first) {
            upper = lower.also { lower = upper }
            upperRow = first.also { lowerRow = upperRow }
        }
        if (upperRow != first) fill(upper, first)
        if (lowerRow != second) fill(lower, second)
        upperRow = first
        lowerRow = second
    }

    private fun fill(line: FloatArray, row: Int) {
        val (_, height, width) = logits.shape
        for (label in 0 until classes) {
            acrossRow(logits.values, (label * height + row) * width, columns, line, label * source.width)
        }
    }

    /** The softmax probability of the class whose logit is [top]. */
    private fun likely(mixed: FloatArray, top: Float): Float {
        var sum = 0f
        for (value in mixed) sum += exp(value - top)
        return 1f / sum
    }
}
