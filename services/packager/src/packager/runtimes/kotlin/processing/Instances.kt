package modelport.processing

import kotlin.math.ceil
import kotlin.math.max
import kotlin.math.min

/*
 * Masks of objects: coefficients times prototypes, cut out of the letterbox, at the picture's own size, inside the box. Equal to
 * Ultralytics' `process_mask_native` (`retina_masks=True`) up to the rounding of float32; made one at a time and only over the box.
 */

/** Pixels of the boxes of one picture together. */
private const val MAX_MASK_PIXELS = 1L shl 31

/** Input pixels to one of a prototype, along each axis. */
private const val STRIDE = 4

/** How the prototypes lie over the picture: first enlarged, then cut at [top] and [left], then resampled. */
private class Grid(prototypes: Size, val source: Size) {
    private val factor = factor(prototypes, source)
    private val content = content(prototypes, source, factor)
    val top = rounded((factor * prototypes.height - content.height) / 2.0 - 0.1)
    val left = rounded((factor * prototypes.width - content.width) / 2.0 - 0.1)
    val enlargedRows = taps(prototypes.height, factor * prototypes.height)
    val enlargedColumns = taps(prototypes.width, factor * prototypes.width)
    val rows = taps(content.height, source.height)
    val columns = taps(content.width, source.width)
}

/** By how much the prototypes are enlarged before the cut, so that it lies between pixels. */
private fun factor(prototypes: Size, source: Size): Int {
    val content = content(prototypes, source, STRIDE)
    val bits = (STRIDE * prototypes.height - content.height) or (STRIDE * prototypes.width - content.width)
    return STRIDE / greatestCommonDivisor(STRIDE, bits or bits / 2)
}

private tailrec fun greatestCommonDivisor(a: Int, b: Int): Int = if (b == 0) a else greatestCommonDivisor(b, a % b)

/** Size of the picture inside the prototypes enlarged by [factor]. */
private fun content(prototypes: Size, source: Size, factor: Int): Size {
    val gain = min(
        (factor * prototypes.height).toDouble() / source.height,
        (factor * prototypes.width).toDouble() / source.width,
    )
    return Size(max(rounded(source.height * gain), 1), max(rounded(source.width * gain), 1))
}

/** Pixels whose index is at least the box's first edge and below its last. */
private data class Region(val top: Int, val left: Int, val bottom: Int, val right: Int) {
    val height: Int get() = bottom - top
    val width: Int get() = right - left
    val isEmpty: Boolean get() = height <= 0 || width <= 0
}

/**
 * One mask for each row of [coefficients] and [boxes] (source pixels), null where it is empty.
 *
 * AnswerError where all masks together are too large.
 */
internal fun instanceMasks(coefficients: Rows, prototypes: FloatTensor, boxes: Rows, source: Size): List<Mask?> {
    val regions = List(boxes.count) { region(boxes, it, source) }
    if (regions.sumOf { max(it.height, 0).toLong() * max(it.width, 0) } > MAX_MASK_PIXELS) {
        throw AnswerError("the masks of this picture cover more than $MAX_MASK_PIXELS pixels; a lower max_detections helps")
    }
    val grid = Grid(Size(prototypes.shape[1], prototypes.shape[2]), source)
    var runs = 0L
    return regions.mapIndexed { row, region ->
        mask(coefficients, row, prototypes, region, grid).also {
            runs += it?.counts?.size ?: 0
            checkRuns(runs)
        }
    }
}

private fun region(boxes: Rows, row: Int, source: Size): Region {
    val edges = FloatArray(4) { boxes[row, it] }
    if (!edges.all(Float::isFinite)) return Region(0, 0, 0, 0)
    val (left, top, right, bottom) = edges.map { ceil(it).toInt() }
    return Region(max(top, 0), max(left, 0), min(bottom, source.height), min(right, source.width))
}

private fun mask(coefficients: Rows, row: Int, prototypes: FloatTensor, region: Region, grid: Grid): Mask? {
    if (region.isEmpty) return null
    val rows = grid.rows.part(region.top, region.bottom)
    val columns = grid.columns.part(region.left, region.right)
    val enlarged = enlarged(
        coefficients,
        row,
        prototypes,
        grid.enlargedRows.part(grid.top + rows.span().first, grid.top + rows.span().last + 1),
        grid.enlargedColumns.part(grid.left + columns.span().first, grid.left + columns.span().last + 1),
    )
    val logits = resample(enlarged, rows.moved(rows.span().first), columns.moved(columns.span().first))
    val inside = BooleanArray(logits.values.size) { logits.values[it] > 0 }
    if (inside.none { it }) return null
    return encode(Patch(region.top, region.left, region.height, region.width, inside), grid.source)
}

/** The mask's logits over a part of the enlarged prototypes. */
private fun enlarged(coefficients: Rows, row: Int, prototypes: FloatTensor, rows: Taps, columns: Taps): Plane {
    val (count, height, width) = prototypes.shape
    val needed = columns.span()
    val part = Plane(rows.span().count(), needed.count(), FloatArray(rows.span().count() * needed.count()))
    for (plane in 0 until count) {
        val coefficient = coefficients[row, plane]
        for (y in 0 until part.height) {
            val from = (plane * height + rows.span().first + y) * width + needed.first
            val at = y * part.width
            for (x in 0 until part.width) part.values[at + x] += coefficient * prototypes.values[from + x]
        }
    }
    return resample(part, rows.moved(rows.span().first), columns.moved(needed.first))
}
