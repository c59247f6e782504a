package modelport.verify

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import modelport.backends.FORMAT

/** The package that these sources lie in. */
private val PACKAGE = File("../..")

class GoldenVectorsTest {
    @Test
    fun everyGoldenVectorIsRepeated() {
        val made = checks(PACKAGE, withModel = FORMAT == "onnx").toList()
        assertTrue(made.size >= 64, "only ${made.size} checks were made")
        assertEquals(emptyList(), made.filterNot { it.passed }.map { it.toString() })
    }
}
