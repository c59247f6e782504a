package modelport.processing

/** Height and width in pixels. */
data class Size(val height: Int, val width: Int)

/** Pixels of a picture: [pixels] holds red, green and blue of each, row by row, one byte each. */
class RgbImage(val width: Int, val height: Int, val pixels: ByteArray) {
    init {
        if (width < 1 || height < 1 || pixels.size.toLong() != 3L * width * height) {
            throw ImageError("image_unreadable", "needs 3 bytes for each of $width x $height pixels, got ${pixels.size}")
        }
    }

    val size: Size get() = Size(height, width)
}

/** An array of numbers, the last axis running fastest. */
sealed interface Tensor {
    val shape: List<Int>
}

/** Numbers of a model; [values] is as long as the product of [shape]. */
class FloatTensor(override val shape: List<Int>, val values: FloatArray) : Tensor {
    init {
        require(values.size.toLong() == count(shape)) { "${values.size} values do not fill $shape" }
    }
}

/** Bytes from 0 to 255, for models whose graph normalises. */
class ByteTensor(override val shape: List<Int>, val values: ByteArray) : Tensor {
    init {
        require(values.size.toLong() == count(shape)) { "${values.size} values do not fill $shape" }
    }
}

/** A table of float32, [count] rows of [width] numbers. */
internal class Rows(val count: Int, val width: Int, val values: FloatArray) {
    constructor(count: Int, width: Int, value: (row: Int, column: Int) -> Float) :
        this(count, width, FloatArray(count * width) { value(it / width, it % width) })

    operator fun get(row: Int, column: Int): Float = values[row * width + column]

    /** Those rows alone, in that order. */
    fun take(rows: IntArray): Rows = Rows(rows.size, width) { row, column -> this[rows[row], column] }
}

/** Indices of [scores], the highest first; equal ones keep their order and NaN comes last. */
internal fun descending(scores: FloatArray): IntArray {
    val keys = LongArray(scores.size) { (rank(scores[it]).toLong() shl Int.SIZE_BITS) or it.toLong() }
    keys.sort()
    return IntArray(keys.size) { keys[it].toInt() }
}

/** An integer that is the smaller the higher the score is. */
private fun rank(score: Float): Int {
    if (score.isNaN()) return Int.MAX_VALUE
    val bits = (0f - score).toRawBits()
    return bits xor ((bits shr 31) and Int.MAX_VALUE)
}

private fun count(shape: List<Int>): Long = shape.fold(1L) { product, side -> product * side }

/** The index of the highest of [count] values from [start] on, [step] apart; the first NaN counts as the highest, as in numpy. */
internal fun highest(values: FloatArray, start: Int, count: Int, step: Int = 1): Int {
    var best = 0
    for (i in 0 until count) {
        val value = values[start + i * step]
        if (value.isNaN()) return i
        if (value > values[start + best * step]) best = i
    }
    return best
}

/** The indices from 0 to before [count] that [matches] holds for. */
internal fun indicesWhere(count: Int, matches: (Int) -> Boolean): IntArray {
    val found = IntArray(count)
    var length = 0
    for (i in 0 until count) if (matches(i)) found[length++] = i
    return found.copyOf(length)
}
