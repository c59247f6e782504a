package modelport.verify

import java.io.File
import java.security.MessageDigest
import java.util.Locale
import kotlin.system.exitProcess
import modelport.ModelWrapper
import modelport.processing.FloatTensor
import modelport.processing.Options
import modelport.processing.Pipeline
import modelport.processing.Prediction
import modelport.processing.ProcessingError
import modelport.processing.Size
import modelport.processing.Tensor
import modelport.processing.decoders.Decoder
import modelport.processing.jsonText
import modelport.processing.locate
import modelport.readMetadata

/** One comparison and what it found; [subject] is the part of the package that answers for it. */
internal class Check(val subject: String, val name: String, val passed: Boolean, val detail: String) {
    override fun toString(): String = "${if (passed) "pass" else "FAIL"}  $subject $name: $detail"

    fun toJson(): String = jsonText(mapOf("subject" to subject, "name" to name, "passed" to passed, "detail" to detail))
}

/** All checks of an unpacked package, in order; one that cannot be made has failed. */
internal fun checks(folder: File, withModel: Boolean): Sequence<Check> = sequence {
    val metadata = readMetadata(folder.resolve("metadata.json").readText())
    for (entry in Entry(metadata).entries("files")) yield(fileCheck(folder, entry))
    val pipeline = Pipeline(metadata)
    val goldens = Goldens(folder.resolve("golden_vectors.safetensors"))
    for (vector in goldens.vectors.entries("preprocess")) {
        yield(attempted("preprocess", vector.text("name")) { drawnTensor(pipeline, vector) })
    }
    for (vector in goldens.vectors.entries("postprocess")) {
        yield(attempted("postprocess", vector.text("name")) { decoded(pipeline, goldens, vector) })
    }
    if (!withModel) return@sequence
    val model = try {
        ModelWrapper(folder)
    } catch (error: Exception) { // whatever a runtime raises: the answer is that the model does not load
        yield(Check("model", "load", false, told(error)))
        return@sequence
    }
    model.use { for (vector in goldens.vectors.entries("model")) yieldAll(modelChecks(it, goldens, vector)) }
}

private fun attempted(subject: String, name: String, ask: () -> Verdict): Check = try {
    ask().let { Check(subject, name, it.passed, it.detail) }
} catch (error: Exception) { // a fault that is injected or found may raise anything
    Check(subject, name, false, told(error))
}

private fun told(error: Exception): String =
    if (error is ProcessingError) error.message.orEmpty() else "${error.javaClass.simpleName}: ${error.message}"

/** A file that metadata.json lists, against its SHA-256. */
private fun fileCheck(folder: File, entry: Entry): Check {
    val path = entry.text("path")
    val file = folder.resolve(path)
    if (!file.isFile) return Check("files", path, false, "missing")
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { stream ->
        val buffer = ByteArray(1 shl 16)
        generateSequence { stream.read(buffer).takeIf { it >= 0 } }.forEach { digest.update(buffer, 0, it) }
    }
    val found = digest.digest().joinToString("") { String.format(Locale.ROOT, "%02x", it) }
    val isSame = found == entry.text("sha256")
    return Check("files", path, isSame, if (isSame) "as listed" else "differs from metadata.json")
}

/** A drawn picture's tensor, to the bit. */
private fun drawnTensor(pipeline: Pipeline, vector: Entry): Verdict {
    val picture = draw(vector.text("pattern"), vector.int("height"), vector.int("width"), vector.int("seed"))
    return sameTensor(pipeline.preprocess(picture).first, vector.entry("tensor"))
}

/** Whether a tensor has the fingerprint; if not, the first stored value that differs. */
private fun sameTensor(tensor: Tensor, expected: Entry): Verdict {
    val got = "${dtype(tensor)} ${tensor.shape}"
    val wanted = "${expected.text("dtype")} ${expected.ints("shape")}"
    if (got != wanted) return Verdict(false, "$got, expected $wanted")
    if (crc32(tensor) == expected.text("crc32")) return Verdict(true, "equal to the bit")
    for (sample in expected.list("samples")) {
        val (place, value) = (sample as List<*>).map { it as Number }
        val found = valueAt(tensor, place.toInt())
        if (found != value.toDouble()) return Verdict(false, "value $place is $found, expected $value")
    }
    return Verdict(false, "CRC-32 ${crc32(tensor)}, expected ${expected.text("crc32")}")
}

/** Stored outputs to predictions. */
private fun decoded(pipeline: Pipeline, goldens: Goldens, vector: Entry): Verdict {
    val names = vector.entry("outputs")
    val outputs = names.names.associateWith { goldens.array(names.text(it)).floats() }
    val (height, width) = vector.ints("source")
    val geometry = locate(Size(height, width), pipeline.resize).second
    return compared("decoded", pipeline.postprocess(outputs, geometry, options(vector)), pipeline, goldens, vector)
}

private fun options(vector: Entry): Options {
    val asked = vector.entry("options")
    fun double(name: String) = if (asked.has(name)) asked.double(name) else null
    fun int(name: String) = if (asked.has(name)) asked.int(name) else null
    return Options(double("confidence_threshold"), double("iou_threshold"), int("max_detections"), int("top_k"))
}

private fun compared(
    tolerance: String,
    found: List<Prediction>,
    pipeline: Pipeline,
    goldens: Goldens,
    vector: Entry,
): Verdict = compare(
    found,
    vector.entries("predictions").map(::prediction),
    threshold(pipeline, vector),
    Tolerance(goldens.vectors.entry("tolerances").entry(tolerance)),
    goldens.vectors.flag("boxes"),
)

/** The confidence above which predictions are chosen; null where the end of the list decides. */
private fun threshold(pipeline: Pipeline, vector: Entry): Double? =
    options(vector).confidenceThreshold ?: pipeline.post.confidence.takeIf { pipeline.post.decoder is Decoder.Objects }

/** One stored picture, stage by stage. */
private fun modelChecks(model: ModelWrapper, goldens: Goldens, vector: Entry): List<Check> {
    val name = vector.text("name")
    val picture = goldens.array(vector.text("picture")).picture()
    val confidence = Options(confidenceThreshold = options(vector).confidenceThreshold)
    return listOf(
        attempted("preprocess", name) { sameTensor(model.preprocess(picture).first, vector.entry("tensor")) },
        attempted("model", name) { sameOutputs(model.run(model.preprocess(picture).first), goldens, vector) },
        attempted("predictions", name) {
            compared("predicted", model.predict(picture, confidence), model.pipeline, goldens, vector)
        },
    )
}

/** The model's outputs against the stored values; rows of a set in any order. */
private fun sameOutputs(outputs: Map<String, FloatTensor>, goldens: Goldens, vector: Entry): Verdict {
    val places = vector.entry("outputs")
    val allowed = goldens.vectors.entry("tolerances").double("output")
    for (name in places.names) {
        val shape = places.entry(name).ints("shape")
        val output = outputs.getValue(name)
        if (output.shape != shape) return Verdict(false, "$name has the shape ${output.shape}, expected $shape")
        if (!output.values.all(Float::isFinite)) return Verdict(false, "$name holds values that are not finite")
    }
    fun stored(name: String) = goldens.array(places.entry(name).text("array")).floats()
    val rows = vector.list("rows").map(Any?::toString)
    val together = rows.map { FloatTensor(places.entry(it).ints("shape"), stored(it).values) }
    val worst = (places.names - rows.toSet()).maxOfOrNull { name ->
        relativeDifference(strided(outputs.getValue(name).values, places.entry(name).int("stride")), stored(name).values)
    } ?: 0.0
    val apart = maxOf(worst, if (rows.isEmpty()) 0.0 else setDifference(rows.map(outputs::getValue), together))
    return Verdict(apart <= allowed, String.format(Locale.ROOT, "%.1e apart, %s is allowed", apart, allowed))
}

private fun strided(values: FloatArray, stride: Int): FloatArray =
    FloatArray((values.size + stride - 1) / stride) { values[it * stride] }

private const val USAGE = """usage: verify [--without-model] [--json] [package]
Compares a package's model with its golden vectors; the package is by default that in whose folder runtimes/kotlin this runs.
  --without-model  only what comes before and after the model
  --json           one JSON object a line"""

/** Prints one line a check; exit code 0 only if all of it is the same. */
fun main(arguments: Array<String>) {
    val (flags, folders) = arguments.partition { it.startsWith("-") }
    if (folders.size > 1 || flags.any { it !in listOf("--without-model", "--json") }) {
        System.err.println(USAGE)
        exitProcess(2)
    }
    val isJson = "--json" in flags
    var total = 0
    var passed = 0
    for (check in checks(File(folders.firstOrNull() ?: "../.."), withModel = "--without-model" !in flags)) {
        total++
        if (check.passed) passed++
        println(if (isJson) check.toJson() else check.toString())
    }
    if (!isJson) println("$passed of $total checks passed")
    exitProcess(if (passed == total) 0 else 1)
}
