package modelport.processing

/** Bounds of a picture file, checked before a pixel is decoded. */
internal const val MAX_PIXELS = 100_000_000L
internal const val MAX_BYTES = 64 * 1024 * 1024

/** The header of a picture file that is not too large; ImageError otherwise, and for one that cannot be read. */
internal fun boundedHeader(data: ByteArray): Header {
    if (data.size > MAX_BYTES) {
        throw ImageError("image_too_large", "the picture has ${data.size} bytes, allowed are $MAX_BYTES")
    }
    val header = readHeader(data)
    if (header.width.toLong() * header.height > MAX_PIXELS) {
        val size = "${header.width} x ${header.height}"
        throw ImageError("image_too_large", "the picture has $size pixels, allowed are $MAX_PIXELS")
    }
    return header
}

/** Undo an EXIF [orientation] of 1 to 8. */
internal fun upright(image: RgbImage, orientation: Int): RgbImage {
    if (orientation !in 2..8) return image
    val isTurned = orientation >= 5
    val width = if (isTurned) image.height else image.width
    val height = if (isTurned) image.width else image.height
    val isUpsideDown = orientation in listOf(3, 4, 7, 8)
    val isMirrored = orientation in listOf(2, 3, 6, 7)
    val out = ByteArray(image.pixels.size)
    var at = 0
    for (row in 0 until height) for (column in 0 until width) {
        val y = if (isUpsideDown) height - 1 - row else row
        val x = if (isMirrored) width - 1 - column else column
        val from = 3 * if (isTurned) x * image.width + y else y * image.width + x
        for (channel in 0 until 3) out[at++] = image.pixels[from + channel]
    }
    return RgbImage(width, height, out)
}
