package modelport.sample

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import modelport.processing.Mask
import modelport.processing.Prediction
import modelport.processing.RgbImage

/** Draws predictions on the picture that they are of. */
internal object Overlay {
    private const val OPAQUE = 0xFF shl 24

    fun draw(image: RgbImage, found: List<Prediction>): Bitmap {
        val argb = IntArray(image.width * image.height) { OPAQUE or rgb(image.pixels, 3 * it) }
        found.forEach { prediction -> prediction.mask?.let { tint(argb, it, color(prediction)) } }
        val bitmap = Bitmap.createBitmap(argb, image.width, image.height, Bitmap.Config.ARGB_8888).copy(Bitmap.Config.ARGB_8888, true)
        val canvas = Canvas(bitmap)
        val scale = maxOf(image.width, image.height) / 400f
        found.forEach { outline(canvas, it, scale) }
        return bitmap
    }

    private fun rgb(pixels: ByteArray, at: Int): Int =
        ((pixels[at].toInt() and 0xFF) shl 16) or ((pixels[at + 1].toInt() and 0xFF) shl 8) or (pixels[at + 2].toInt() and 0xFF)

    /** Half the colour, half the picture. */
    private fun tint(argb: IntArray, mask: Mask, color: Int) {
        mask.pixels().forEachIndexed { at, isInside ->
            if (isInside) argb[at] = OPAQUE or (((argb[at] shr 1) and 0x7F7F7F) + ((color shr 1) and 0x7F7F7F))
        }
    }

    private fun outline(canvas: Canvas, prediction: Prediction, scale: Float) {
        val box = prediction.bbox ?: return
        val paint = Paint().apply {
            color = color(prediction)
            style = Paint.Style.STROKE
            strokeWidth = 1.5f * scale
        }
        val turned = prediction.rotatedBox
        if (turned == null) {
            canvas.drawRect(box.x1, box.y1, box.x2, box.y2, paint)
        } else {
            canvas.save()
            canvas.rotate(Math.toDegrees(turned.angle.toDouble()).toFloat(), turned.cx, turned.cy)
            val (halfWidth, halfHeight) = turned.width / 2 to turned.height / 2
            canvas.drawRect(turned.cx - halfWidth, turned.cy - halfHeight, turned.cx + halfWidth, turned.cy + halfHeight, paint)
            canvas.restore()
        }
        paint.style = Paint.Style.FILL
        prediction.keypoints?.forEach { canvas.drawCircle(it.x, it.y, 2.5f * scale, paint) }
        paint.textSize = 12f * scale
        canvas.drawText(prediction.className, box.x1, maxOf(box.y1 - 2 * scale, paint.textSize), paint)
    }

    /** Of each class another one. */
    private fun color(prediction: Prediction): Int = Color.HSVToColor(floatArrayOf(prediction.classId * 67f % 360f, 0.9f, 0.9f))
}
