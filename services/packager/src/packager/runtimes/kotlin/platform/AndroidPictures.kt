package modelport

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import modelport.processing.ImageError
import modelport.processing.Options
import modelport.processing.Prediction
import modelport.processing.RgbImage
import modelport.processing.boundedHeader
import modelport.processing.upright

/*
 * Pictures on Android, by android.graphics.
 */

/** The predictions of a bitmap, best first; see [ModelWrapper.predict]. */
fun ModelWrapper.predict(bitmap: Bitmap, options: Options = Options()): List<Prediction> =
    predict(bitmap.toRgbImage(), options)

/** The predictions of a picture file's bytes, best first; see [ModelWrapper.predict]. */
fun ModelWrapper.predict(picture: ByteArray, options: Options = Options()): List<Prediction> =
    predict(decodePicture(picture, pipeline.appliesExif), options)

/**
 * A JPEG, PNG, WebP or BMP file to RGB pixels, turned upright by its EXIF tag if [appliesExif]; alpha is dropped.
 *
 * ImageError for a file that is too large, damaged or of another kind.
 */
fun decodePicture(data: ByteArray, appliesExif: Boolean = true): RgbImage {
    val header = boundedHeader(data)
    val wanted = BitmapFactory.Options().apply {
        inScaled = false
        inPremultiplied = false
        inPreferredConfig = Bitmap.Config.ARGB_8888
    }
    val bitmap = BitmapFactory.decodeByteArray(data, 0, data.size, wanted)
        ?: throw ImageError("image_unreadable", "the picture is damaged")
    try {
        return upright(bitmap.toRgbImage(), if (appliesExif) header.orientation else 1)
    } finally {
        bitmap.recycle()
    }
}

/** The bitmap's pixels without alpha; one of the GPU, as ImageDecoder and image loaders give it, is copied to where they can be read. */
fun Bitmap.toRgbImage(): RgbImage {
    // by its name: the constant is not there before Android 8
    if (config?.name == "HARDWARE") {
        val copied = copy(Bitmap.Config.ARGB_8888, false) ?: throw ImageError("image_unreadable", "the GPU does not give the bitmap's pixels")
        return copied.toRgbImage().also { copied.recycle() }
    }
    val line = IntArray(width)
    val pixels = ByteArray(3 * width * height)
    var at = 0
    for (y in 0 until height) {
        getPixels(line, 0, width, 0, y, width, 1)
        for (argb in line) {
            pixels[at++] = (argb shr 16).toByte()
            pixels[at++] = (argb shr 8).toByte()
            pixels[at++] = argb.toByte()
        }
    }
    return RgbImage(width, height, pixels)
}
