package modelport.sample

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.SystemClock
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import java.io.IOException
import java.util.concurrent.Executors
import modelport.ModelWrapper
import modelport.decodePicture
import modelport.processing.Prediction

/** One screen: choose a picture, see what the model finds in it. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val screen = Handler(Looper.getMainLooper())
    private lateinit var picture: ImageView
    private lateinit var status: TextView
    private lateinit var choose: Button

    /** Touched by the worker alone. */
    private var model: ModelWrapper? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(layout())
        worker.execute {
            attempt {
                model = ModelWrapper(assetBytes(modelFile()), assetBytes("metadata.json").toString(Charsets.UTF_8))
                show { status.setText(R.string.ready); choose.isEnabled = true }
            }
        }
    }

    override fun onDestroy() {
        worker.execute { model?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    /** Started by the system's own picker, which needs no permission. */
    @Deprecated("The successor needs AndroidX, which this app does without.")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val chosen = data?.data
        if (requestCode == PICK && resultCode == RESULT_OK && chosen != null) look(chosen)
    }

    private fun look(chosen: Uri) {
        status.setText(R.string.working)
        worker.execute {
            attempt {
                val loaded = checkNotNull(model) { "the model is not loaded" }
                val bytes = contentResolver.openInputStream(chosen)?.use { it.readBytes() } ?: throw IOException("no such picture")
                val image = decodePicture(bytes, loaded.pipeline.appliesExif)
                val started = SystemClock.elapsedRealtime()
                val found = loaded.predict(image)
                val took = SystemClock.elapsedRealtime() - started
                val drawn = Overlay.draw(image, found)
                show { present(drawn, found, took) }
            }
        }
    }

    private fun present(drawn: Bitmap, found: List<Prediction>, milliseconds: Long) {
        picture.setImageBitmap(drawn)
        val lines = found.take(LINES).joinToString("\n") { "${it.className}  ${"%.0f".format(100 * it.confidence)} %" }
        status.text = getString(R.string.found, found.size, milliseconds) + "\n" + lines
    }

    /** What goes wrong is told on the screen: the wrapper's errors are sentences for people. */
    private fun attempt(action: () -> Unit) {
        try {
            action()
        } catch (error: Exception) { // the wrapper's, and whatever the app that gives the picture raises
            tell(error)
        } catch (error: OutOfMemoryError) { // a picture of 50 megapixels is more than some devices give an app
            tell(error)
        }
    }

    private fun tell(error: Throwable) = show { status.text = getString(R.string.failed, error.message.orEmpty()) }

    private fun show(action: () -> Unit) {
        screen.post { if (!isDestroyed) action() }
    }

    private fun layout(): LinearLayout {
        choose = Button(this).apply {
            setText(R.string.pick)
            isEnabled = false
            setOnClickListener { pick() }
        }
        picture = ImageView(this).apply { adjustViewBounds = true }
        status = TextView(this).apply { setText(R.string.loading) }
        return LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            listOf(choose, picture, status).forEach(::addView)
        }
    }

    @Suppress("DEPRECATION") // see onActivityResult
    private fun pick() {
        val wanted = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        startActivityForResult(wanted, PICK)
    }

    private fun modelFile(): String = assets.list("").orEmpty().first { it.startsWith("model.") }

    private fun assetBytes(name: String): ByteArray = assets.open(name).use { it.readBytes() }

    private companion object {
        const val PICK = 1
        const val LINES = 10
    }
}
