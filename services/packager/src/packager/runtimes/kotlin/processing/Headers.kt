package modelport.processing

import java.nio.BufferUnderflowException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/*
 * What a picture file says of itself, read without decoding it: size and EXIF orientation.
 */

/** Segments and chunks of one file. */
private const val MAX_PARTS = 20_000
private const val ORIENTATION = 0x0112

/** Width and height are those stored, before the [orientation] (1 to 8) is applied; [isFourInks]: a JPEG of CMYK. */
internal data class Header(val width: Int, val height: Int, val orientation: Int = 1, val isFourInks: Boolean = false)

/** `image_unreadable` for anything but a JPEG, PNG, WebP or BMP file. */
internal fun readHeader(data: ByteArray): Header {
    val bytes = ByteBuffer.wrap(data)
    val header = try {
        when {
            data.begins(0xFF, 0xD8, 0xFF) -> jpeg(bytes)
            data.begins(0x89, 'P'.code, 'N'.code, 'G'.code, 13, 10, 26, 10) -> png(bytes)
            data.begins('R'.code, 'I'.code, 'F'.code, 'F'.code) && bytes.tag(8) == "WEBP" -> webp(bytes)
            data.begins('B'.code, 'M'.code) -> bmp(bytes)
            else -> throw unreadable("not a JPEG, PNG, WebP or BMP file")
        }
    } catch (error: IndexOutOfBoundsException) {
        throw ImageError("image_unreadable", "the file is truncated", error)
    } catch (error: BufferUnderflowException) {
        throw ImageError("image_unreadable", "the file is truncated", error)
    }
    if (header.width < 1 || header.height < 1) throw unreadable("the picture has no pixels")
    return header
}

private fun jpeg(bytes: ByteBuffer): Header {
    var found = Header(0, 0)
    var at = 2
    repeat(MAX_PARTS) {
        if (bytes.u8(at) != 0xFF) throw unreadable("the JPEG file is damaged")
        val marker = bytes.u8(at + 1)
        if (marker == 0xFF || marker == 0x01 || marker in 0xD0..0xD7) {
            at += if (marker == 0xFF) 1 else 2
            return@repeat
        }
        val length = bytes.u16(at + 2)
        val body = at + 4
        when {
            marker in 0xC0..0xCF && marker !in listOf(0xC4, 0xC8, 0xCC) ->
                found = found.copy(width = bytes.u16(body + 3), height = bytes.u16(body + 1), isFourInks = bytes.u8(body + 5) == 4)
            marker == 0xE1 && bytes.tag(body) == "Exif" && bytes.u16(body + 4) == 0 ->
                found = found.copy(orientation = exifOrientation(bytes.part(body + 6, length - 8)))
            marker == 0xDA -> return found
            marker == 0xD9 -> throw unreadable("the JPEG file holds no picture")
        }
        at += 2 + length
    }
    throw unreadable("the JPEG file has too many segments")
}

private fun png(bytes: ByteBuffer): Header {
    var found = Header(0, 0)
    var at = 8
    repeat(MAX_PARTS) {
        val length = bytes.getInt(at)
        if (length < 0) throw unreadable("the PNG file is damaged")
        when (bytes.tag(at + 4)) {
            "IHDR" -> found = found.copy(width = bytes.getInt(at + 8), height = bytes.getInt(at + 12))
            "eXIf" -> found = found.copy(orientation = exifOrientation(bytes.part(at + 8, length)))
            "IEND" -> return found
        }
        at += 12 + length
    }
    throw unreadable("the PNG file has too many chunks")
}

private fun webp(bytes: ByteBuffer): Header {
    bytes.order(ByteOrder.LITTLE_ENDIAN)
    var found = Header(0, 0)
    val end = minOf(bytes.getInt(4).toLong() + 8, bytes.capacity().toLong())
    var at = 12
    repeat(MAX_PARTS) {
        if (at + 8 > end) return found
        val length = bytes.getInt(at + 4)
        if (length < 0) throw unreadable("the WebP file is damaged")
        when (bytes.tag(at)) {
            "VP8X", "VP8 ", "VP8L" -> if (found.width == 0) found = webpSize(bytes.tag(at), bytes, at + 8, found.orientation)
            "EXIF" -> found = found.copy(orientation = exifOrientation(withoutPrefix(bytes.part(at + 8, length))))
        }
        at += 8 + length + length % 2
    }
    throw unreadable("the WebP file has too many chunks")
}

private fun webpSize(kind: String, bytes: ByteBuffer, at: Int, orientation: Int): Header = when (kind) {
    "VP8X" -> Header((bytes.getInt(at + 4) and 0xFFFFFF) + 1, (bytes.getInt(at + 6) ushr 8) + 1, orientation)
    "VP8 " -> Header(bytes.u16(at + 6) and 0x3FFF, bytes.u16(at + 8) and 0x3FFF, orientation)
    else -> bytes.getInt(at + 1).let { Header((it and 0x3FFF) + 1, ((it shr 14) and 0x3FFF) + 1, orientation) }
}

private fun withoutPrefix(exif: ByteBuffer): ByteBuffer =
    if (exif.capacity() > 6 && exif.tag(0) == "Exif") exif.part(6, exif.capacity() - 6) else exif

private fun bmp(bytes: ByteBuffer): Header {
    bytes.order(ByteOrder.LITTLE_ENDIAN)
    if (bytes.getInt(14) < 40) throw unreadable("BMP files of OS/2 are not supported")
    return Header(bytes.getInt(18), kotlin.math.abs(bytes.getInt(22)))
}

/** Tag 0x0112 of the first directory; 1 where there is none or the block is damaged, as decoders do. */
private fun exifOrientation(tiff: ByteBuffer): Int {
    try {
        when (tiff.tag(0)) {
            "II*\u0000" -> tiff.order(ByteOrder.LITTLE_ENDIAN)
            "MM\u0000*" -> tiff.order(ByteOrder.BIG_ENDIAN)
            else -> return 1
        }
        val directory = tiff.getInt(4)
        for (entry in 0 until tiff.u16(directory)) {
            val at = directory + 2 + 12 * entry
            tiff.getInt(at + 4)
            val value = tiff.u16(at + 8)
            tiff.u16(at + 10)
            if (tiff.u16(at) == ORIENTATION) return if (value in 1..8) value else 1
        }
    } catch (_: IndexOutOfBoundsException) {
        return 1
    }
    return 1
}

private fun ByteArray.begins(vararg start: Int): Boolean =
    size >= start.size && start.indices.all { this[it].toInt() and 0xFF == start[it] }

private fun ByteBuffer.u8(at: Int): Int = get(at).toInt() and 0xFF

private fun ByteBuffer.u16(at: Int): Int = getShort(at).toInt() and 0xFFFF

private fun ByteBuffer.tag(at: Int): String = String(CharArray(4) { u8(at + it).toChar() })

/** The bytes from [start] on, as many as there are of [length]. */
private fun ByteBuffer.part(start: Int, length: Int): ByteBuffer {
    val view = duplicate()
    view.position(minOf(start, capacity()))
    view.limit(minOf(start + maxOf(length, 0), capacity()))
    return view.slice()
}

private fun unreadable(message: String): ImageError = ImageError("image_unreadable", message)
