package modelport.verify

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import modelport.processing.ByteTensor
import modelport.processing.FloatTensor
import modelport.processing.GoldenError
import modelport.processing.JsonError
import modelport.processing.RgbImage
import modelport.processing.Tensor
import modelport.processing.parseJson

private const val SCHEMA_VERSION = 1L
private const val MAX_HEADER_BYTES = 64L shl 20

/** A JSON object and a way into it that says what is missing. */
internal class Entry(private val values: Map<*, *>) {
    constructor(value: Any?) : this(value as? Map<*, *> ?: throw GoldenError("holds ${value ?: "nothing"} instead of an object"))

    val names: List<String> get() = values.keys.map(Any?::toString)

    fun entry(name: String) = Entry(values[name])

    fun entries(name: String): List<Entry> = list(name).map { Entry(it) }

    fun has(name: String): Boolean = values[name] != null

    fun text(name: String): String = values[name] as? String ?: missing(name)

    fun flag(name: String): Boolean = values[name] as? Boolean ?: missing(name)

    fun int(name: String): Int = (values[name] as? Long ?: missing(name)).toInt()

    fun double(name: String): Double = (values[name] as? Number ?: missing(name)).toDouble()

    fun list(name: String): List<Any?> = values[name] as? List<Any?> ?: missing(name)

    fun numbers(name: String): List<Number> = list(name).map { it as? Number ?: missing(name) }

    fun ints(name: String): List<Int> = numbers(name).map(Number::toInt)

    private fun missing(name: String): Nothing = throw GoldenError("has no or a wrong '$name'")
}

/** Numbers of a golden file: their type, shape and place. */
internal class Stored(private val dtype: String, val shape: List<Int>, private val bytes: ByteBuffer) {
    /** As decoders read them. */
    fun floats(): FloatTensor {
        val values = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN)
        val read: () -> Float = when (dtype) {
            "F32" -> { -> values.getFloat() }
            "F64" -> { -> values.getDouble().toFloat() }
            "I32" -> { -> values.getInt().toFloat() }
            "I64" -> { -> values.getLong().toFloat() }
            "U8" -> { -> (values.get().toInt() and 0xFF).toFloat() }
            "F16" -> { -> half(values.getShort().toInt()) }
            else -> throw GoldenError("holds numbers of the unknown type $dtype")
        }
        return FloatTensor(shape, FloatArray(shape.fold(1, Int::times)) { read() })
    }

    /** A picture [height, width, 3]. */
    fun picture(): RgbImage {
        if (dtype != "U8" || shape.size != 3) throw GoldenError("holds a picture of type $dtype and shape $shape")
        return RgbImage(shape[1], shape[0], ByteArray(bytes.remaining()).also { bytes.duplicate().get(it) })
    }
}

/** A float16 by its bits. */
private fun half(bits: Int): Float {
    val sign = if (bits and 0x8000 != 0) -1f else 1f
    val exponent = (bits shr 10) and 0x1F
    val fraction = (bits and 0x3FF).toFloat()
    return sign * when (exponent) {
        0 -> Math.scalb(fraction, -24)
        31 -> if (fraction == 0f) Float.POSITIVE_INFINITY else Float.NaN
        else -> Math.scalb(1024f + fraction, exponent - 25)
    }
}

/** golden_vectors.safetensors: examples that a wrapper of any language repeats. */
internal class Goldens(file: File) {
    private val data: ByteBuffer = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN)
    private val header: Entry
    private val base: Int

    /** The three lists of examples, and how far apart answers may be. */
    val vectors: Entry

    init {
        val size = if (data.capacity() >= 8) data.getLong(0) else -1
        if (size !in 0..minOf(MAX_HEADER_BYTES, data.capacity() - 8L)) throw GoldenError("is no safetensors file")
        base = 8 + size.toInt()
        header = Entry(json(String(data.array(), 8, size.toInt(), Charsets.UTF_8)))
        vectors = Entry(json(header.entry("__metadata__").text("vectors")))
        if (vectors.int("schema_version").toLong() != SCHEMA_VERSION) {
            throw GoldenError("has schema version ${vectors.int("schema_version")}, known is $SCHEMA_VERSION")
        }
    }

    /** The array of that name. */
    fun array(name: String): Stored {
        val entry = header.entry(name)
        val (start, end) = entry.ints("data_offsets")
        if (start !in 0..end || end > data.capacity() - base) throw GoldenError("has the array '$name' outside the file")
        val view = data.duplicate()
        view.position(base + start)
        view.limit(base + end)
        return Stored(entry.text("dtype"), entry.ints("shape"), view.slice())
    }

    private fun json(text: String): Any? = try {
        parseJson(text)
    } catch (error: JsonError) {
        throw GoldenError("cannot be read (${error.message})")
    }
}

/** A picture by arithmetic alone, the same in every language; all of it on 32 bits, which wrap round. */
internal fun draw(pattern: String, height: Int, width: Int, seed: Int): RgbImage {
    val byteAt = PATTERNS[pattern] ?: throw GoldenError("has the unknown pattern '$pattern'; known: ${PATTERNS.keys.joinToString()}")
    val pixels = ByteArray(3 * height * width)
    var at = 0
    for (y in 0 until height) for (x in 0 until width) for (c in 0 until 3) pixels[at++] = byteAt(y, x, c, seed).toByte()
    return RgbImage(width, height, pixels)
}

private fun noise(y: Int, x: Int, c: Int, seed: Int): Int {
    var v = y * 0x9E3779B1.toInt() + x * 0x85EBCA77.toInt() + c * 0xC2B2AE3D.toInt() + seed * 0x27D4EB2F
    v = v xor (v ushr 15)
    v *= 0x2C1B3C6D
    v = v xor (v ushr 12)
    return v ushr 24
}

private fun ramp(y: Int, x: Int, c: Int, seed: Int): Int {
    val turn = (3 * y + 2 * x + 85 * c + 37 * seed) and 511
    return minOf(turn, 511 - turn)
}

private val PATTERNS: Map<String, (Int, Int, Int, Int) -> Int> = mapOf("noise" to ::noise, "ramp" to ::ramp)

/** What a tensor is recognised by: the name of its type, and the CRC-32 of its little-endian bytes in hexadecimal. */
internal fun dtype(tensor: Tensor): String = if (tensor is ByteTensor) "uint8" else "float32"

internal fun crc32(tensor: Tensor): String {
    val bytes = when (tensor) {
        is ByteTensor -> tensor.values
        is FloatTensor -> ByteBuffer.allocate(4 * tensor.values.size).order(ByteOrder.LITTLE_ENDIAN)
            .also { it.asFloatBuffer().put(tensor.values) }.array()
    }
    return CRC32().apply { update(bytes) }.value.toString(16).padStart(8, '0')
}

/** The value at a place, counted through all axes. */
internal fun valueAt(tensor: Tensor, place: Int): Double = when (tensor) {
    is ByteTensor -> (tensor.values[place].toInt() and 0xFF).toDouble()
    is FloatTensor -> tensor.values[place].toDouble()
}
