package modelport

import java.awt.image.BufferedImage
import java.awt.image.IndexColorModel
import java.io.ByteArrayInputStream
import java.io.File
import javax.imageio.ImageIO
import modelport.processing.ImageError
import modelport.processing.Options
import modelport.processing.Prediction
import modelport.processing.RgbImage
import modelport.processing.boundedHeader
import modelport.processing.upright

/*
 * Pictures on the JVM, by javax.imageio.
 */

/** The predictions of a picture file, best first; see [ModelWrapper.predict]. */
fun ModelWrapper.predict(picture: File, options: Options = Options()): List<Prediction> = predict(decode(picture), options)

/** The predictions of each picture file; see [ModelWrapper.predictBatch]. */
@JvmName("predictBatchOfFiles")
fun ModelWrapper.predictBatch(pictures: List<File>, options: Options = Options()): List<List<Prediction>> =
    predictBatch(pictures.map(::decode), options)

/** A file's pixels, upright where the model's metadata says so. */
fun ModelWrapper.decode(picture: File): RgbImage = decodePicture(picture.readBytes(), pipeline.appliesExif)

/**
 * A JPEG, PNG or BMP file to RGB pixels, turned upright by its EXIF tag if [appliesExif].
 *
 * Gray is repeated, alpha dropped, palettes looked up, 16-bit samples cut to their high byte. ImageError for a file that is too large,
 * damaged or of another kind, and for a JPEG of CMYK.
 */
fun decodePicture(data: ByteArray, appliesExif: Boolean = true): RgbImage {
    val header = boundedHeader(data)
    if (header.isFourInks) throw ImageError("image_unreadable", "this Java gives a JPEG of four inks (CMYK) no RGB: save it as RGB")
    val picture = try {
        ImageIO.read(ByteArrayInputStream(data))
    } catch (error: Exception) { // decoders raise anything on a damaged file
        throw ImageError("image_unreadable", "the picture is damaged: ${error.message}", error)
    } ?: throw ImageError("image_unreadable", "this Java has no decoder for this kind of picture")
    if (picture.width != header.width || picture.height != header.height) {
        throw ImageError("image_unreadable", "the picture contradicts its header")
    }
    return upright(picture.toRgbImage(), if (appliesExif) header.orientation else 1)
}

/** The stored samples as they are, without a conversion between colour spaces. */
fun BufferedImage.toRgbImage(): RgbImage {
    val palette = colorModel as? IndexColorModel
    val bands = raster.numBands
    val isGray = palette == null && bands < 3
    val samples = IntArray(width * bands)
    val pixels = ByteArray(3 * width * height)
    for (y in 0 until height) {
        raster.getPixels(0, y, width, 1, samples)
        for (x in 0 until width) for (channel in 0 until 3) {
            val band = if (isGray || palette != null) 0 else channel
            val sample = samples[x * bands + band]
            val value = palette?.getRGB(sample)?.shr(16 - 8 * channel) ?: eightBits(sample, raster.sampleModel.getSampleSize(band))
            pixels[(y * width + x) * 3 + channel] = value.toByte()
        }
    }
    return RgbImage(width, height, pixels)
}

private fun eightBits(sample: Int, bits: Int): Int = if (bits >= 8) sample shr (bits - 8) else sample * 255 / ((1 shl bits) - 1)
