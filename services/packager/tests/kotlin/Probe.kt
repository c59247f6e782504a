package modelport.probe

import android.graphics.Bitmap
import java.io.File
import java.io.IOException
import java.lang.reflect.InvocationTargetException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import modelport.ModelWrapper
import modelport.processing.FloatTensor
import modelport.processing.JsonError
import modelport.processing.MetadataError
import modelport.processing.OptionError
import modelport.processing.Options
import modelport.processing.Pipeline
import modelport.processing.ProcessingError
import modelport.processing.RgbImage
import modelport.processing.Size
import modelport.processing.jsonText
import modelport.processing.locate
import modelport.processing.parseJson
import modelport.processing.resize
import modelport.toRgbImage
import modelport.verify.Entry
import modelport.verify.checks
import modelport.verify.crc32
import modelport.verify.draw
import modelport.verify.dtype

/** What tests ask of the wrapper, one JSON object a line, answered by one line: many questions of one process. */
private val ANSWERS: Map<String, (Entry) -> Any?> = mapOf(
    "resize" to { asked ->
        val (height, width) = asked.ints("to")
        pixels(resize(drawn(asked), Size(height, width), asked.text("kernel")))
    },
    "preprocess" to { asked ->
        val tensor = pipeline(asked).preprocess(drawn(asked)).first
        mapOf("dtype" to dtype(tensor), "shape" to tensor.shape, "crc32" to crc32(tensor))
    },
    "postprocess" to { asked -> postprocess(asked).map { it.asMap() } },
    "metadata" to { asked -> pipeline(asked).outputNames },
    "json" to { asked -> parseJson(asked.text("text")) },
    "decode" to { asked -> pixels(decodeOnJvm(File(asked.text("file")).readBytes(), asked.flag("exif"))) },
    "bitmap" to { asked ->
        val image = drawn(asked)
        val colors = IntArray(image.width * image.height) { at ->
            (0 until 3).fold(at * 0x5B) { color, channel -> (color shl 8) or (image.pixels[3 * at + channel].toInt() and 0xFF) }
        }
        pixels(Bitmap(colors, image.width, Bitmap.Config.valueOf(asked.text("config"))).toRgbImage())
    },
    "verify" to { asked ->
        checks(File(asked.text("package")), asked.flag("with_model")).map { mapOf("passed" to it.passed, "told" to it.toString()) }.toList()
    },
    "wrapper" to ::wrapper,
    "load" to { asked -> ModelWrapper(File(asked.text("package"))).use { it.batchSize } },
    "run" to { asked ->
        ModelWrapper(File(asked.text("package"))).use { model ->
            val outputs = model.run(model.preprocess(drawn(asked)).first)
            outputs.mapValues { mapOf("shape" to it.value.shape, "values" to it.value.values.asList()) }
        }
    },
    "tensor" to { asked ->
        val shape = asked.ints("shape")
        ModelWrapper(File(asked.text("package"))).use { it.run(FloatTensor(shape, FloatArray(shape.fold(1, Int::times)))).keys }
    },
    "litert" to ::litert,
)

fun main() {
    for (line in generateSequence(::readlnOrNull)) {
        val asked = Entry(parseJson(line))
        println(jsonText(try {
            mapOf("answer" to ANSWERS.getValue(asked.text("do"))(asked))
        } catch (error: ProcessingError) {
            val field = (error as? MetadataError)?.field ?: (error as? OptionError)?.field
            mapOf("error" to mapOf("code" to error.code, "field" to field, "message" to error.message))
        } catch (error: IOException) {
            mapOf("error" to mapOf("code" to "io", "message" to error.message))
        } catch (error: JsonError) {
            mapOf("error" to mapOf("code" to "json", "message" to error.message))
        }))
    }
}

private fun drawn(asked: Entry): RgbImage = draw(asked.text("pattern"), asked.int("height"), asked.int("width"), asked.int("seed"))

/** By its name, because what is compiled here has the function of the same name for Android. */
private fun decodeOnJvm(data: ByteArray, appliesExif: Boolean): RgbImage = try {
    Class.forName("modelport.JvmPicturesKt")
        .getMethod("decodePicture", ByteArray::class.java, Boolean::class.java)
        .invoke(null, data, appliesExif) as RgbImage
} catch (error: InvocationTargetException) {
    throw error.targetException
}

private fun pixels(image: RgbImage): Map<String, Any> =
    mapOf("shape" to listOf(image.height, image.width, 3), "crc32" to CRC32().apply { update(image.pixels) }.value)

private fun pipeline(asked: Entry) = Pipeline(readMap(asked))

private fun readMap(asked: Entry): Map<String, Any?> = modelport.readMetadata(File(asked.text("metadata")).readText())

private fun options(asked: Entry): Options {
    if (!asked.has("options")) return Options()
    val given = asked.entry("options")
    fun double(name: String) = if (given.has(name)) given.double(name) else null
    fun int(name: String) = if (given.has(name)) given.int(name) else null
    return Options(double("confidence_threshold"), double("iou_threshold"), int("max_detections"), int("top_k"))
}

/** Outputs lie in files, float32. */
private fun outputs(asked: Entry): Map<String, FloatTensor> {
    val given = asked.entry("outputs")
    return given.names.associateWith { name ->
        val shape = given.entry(name).ints("shape")
        val bytes = ByteBuffer.wrap(File(given.entry(name).text("file")).readBytes()).order(ByteOrder.LITTLE_ENDIAN)
        FloatTensor(shape, FloatArray(shape.fold(1, Int::times)).also { bytes.asFloatBuffer().get(it) })
    }
}

private fun postprocess(asked: Entry): List<modelport.processing.Prediction> {
    val pipeline = pipeline(asked)
    val (height, width) = asked.ints("source")
    return pipeline.postprocess(outputs(asked), locate(Size(height, width), pipeline.resize).second, options(asked))
}

/** Loads a package and asks it in all its ways: alone, in a batch, from several threads, after it was closed. */
private fun wrapper(asked: Entry): Any {
    val pictures = asked.entries("pictures").map(::drawn)
    val model = ModelWrapper(File(asked.text("package")))
    val alone = pictures.map { picture -> model.predict(picture).map { it.asMap() } }
    val together = model.predictBatch(pictures).map { found -> found.map { it.asMap() } }
    val threaded = pictures.parallelStream().map { picture -> model.predict(picture).map { it.asMap() } }.toList()
    model.close()
    model.close()
    val closed = try {
        model.predict(pictures[0])
        "answered"
    } catch (error: ProcessingError) {
        error.code
    }
    val bytes = File(asked.text("package"), model.pipeline.modelFile).readBytes()
    val fromBytes = ModelWrapper(bytes, File(asked.text("package"), "metadata.json").readText())
        .use { again -> again.predict(pictures[0]).map { it.asMap() } }
    return mapOf("alone" to alone, "together" to together, "threaded" to threaded, "closed" to closed, "from_bytes" to fromBytes)
}
