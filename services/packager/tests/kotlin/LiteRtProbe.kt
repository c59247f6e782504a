package modelport.probe

import java.io.File
import java.lang.reflect.InvocationTargetException
import modelport.backends.Backend
import modelport.backends.Facts
import modelport.backends.ModelSource
import modelport.processing.Pipeline
import modelport.verify.Entry
import modelport.verify.draw

/**
 * The wrapper's LiteRT backend on a package, its model read from its file and from memory.
 *
 * It is called by its name, because the wrapper that is tested here has the function of the same name of ONNX Runtime.
 */
internal fun litert(asked: Entry): Any {
    val folder = File(asked.text("package"))
    val pipeline = Pipeline(modelport.readMetadata(folder.resolve("metadata.json").readText()))
    val model = folder.resolve(pipeline.modelFile)
    val sources = listOf(ModelSource.InFile(model), ModelSource.InMemory(model.readBytes()))
    return sources.map { source ->
        open(source, Facts(pipeline.inputName, pipeline.outputNames, batch = 1)).use { backend ->
            asked.entries("pictures").map { picture ->
                val image = draw(picture.text("pattern"), picture.int("height"), picture.int("width"), picture.int("seed"))
                val (tensor, geometry) = pipeline.preprocess(image)
                val outputs = backend.run(tensor)
                mapOf(
                    "outputs" to outputs.mapValues { mapOf("shape" to it.value.shape, "values" to it.value.values.asList()) },
                    "predictions" to pipeline.postprocess(outputs, geometry).map { it.asMap() },
                )
            }
        }
    }
}

private fun open(source: ModelSource, facts: Facts): Backend = try {
    Class.forName("modelport.backends.LiteRtKt")
        .getMethod("openBackend", ModelSource::class.java, Facts::class.java)
        .invoke(null, source, facts) as Backend
} catch (error: InvocationTargetException) {
    throw error.targetException
}
