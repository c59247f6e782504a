package modelport

import java.io.File
import java.io.IOException
import kotlin.system.exitProcess
import modelport.processing.Options
import modelport.processing.ProcessingError
import modelport.processing.jsonText

private const val USAGE = """usage: example [options] picture [another …]
Runs this package's model on pictures (JPEG, PNG or BMP files) and prints a JSON list for each.
  --package FOLDER              the unpacked package, by default that in whose folder runtimes/kotlin this runs
  --confidence-threshold VALUE
  --iou-threshold VALUE         detectors only
  --max-detections NUMBER       not for classifiers
  --top-k NUMBER                classifiers only"""

private val OPTIONS =
    listOf("--package", "--confidence-threshold", "--iou-threshold", "--max-detections", "--top-k")

/** Exit code 0, 1 with a sentence for what cannot be read or done, 2 for a call that is not understood. */
fun main(arguments: Array<String>) {
    val asked = mutableMapOf<String, String>()
    val pictures = mutableListOf<File>()
    val rest = arguments.iterator()
    for (argument in rest) {
        when {
            argument in OPTIONS && rest.hasNext() -> asked[argument] = rest.next()
            argument.startsWith("--") -> leave(2, USAGE)
            else -> pictures += File(argument)
        }
    }
    if (pictures.isEmpty()) leave(2, USAGE)
    try {
        val options = Options(
            confidenceThreshold = asked["--confidence-threshold"]?.toDouble(),
            iouThreshold = asked["--iou-threshold"]?.toDouble(),
            maxDetections = asked["--max-detections"]?.toInt(),
            topK = asked["--top-k"]?.toInt(),
        )
        ModelWrapper(File(asked["--package"] ?: "../..")).use { model ->
            for (found in model.predictBatch(pictures, options)) println(jsonText(found.map { it.asMap() }))
        }
    } catch (error: NumberFormatException) {
        leave(2, USAGE)
    } catch (error: ProcessingError) {
        leave(1, "example: ${error.message}")
    } catch (error: IOException) {
        leave(1, "example: ${error.message}")
    }
}

private fun leave(code: Int, message: String): Nothing {
    System.err.println(message)
    exitProcess(code)
}
