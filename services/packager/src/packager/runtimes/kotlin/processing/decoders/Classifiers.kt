package modelport.processing.decoders

import kotlin.math.exp
import modelport.processing.FloatTensor
import modelport.processing.highest

/*
 * Outputs of classifiers to probabilities.
 */

/** Logits [1, C]. */
internal fun softmax(output: FloatTensor): FloatArray = softmaxOf(single(output, 2).values)

/** Class probabilities [1, C]. */
internal fun probabilities(output: FloatTensor): FloatArray = single(output, 2).values

/** The exponentials of [logits] over their sum; nothing of nothing. */
internal fun softmaxOf(logits: FloatArray): FloatArray {
    if (logits.isEmpty()) throw wrong("the output has no classes")
    val top = logits[highest(logits, 0, logits.size)]
    val exponents = FloatArray(logits.size) { exp(logits[it] - top) }
    val sum = exponents.fold(0f, Float::plus)
    return FloatArray(logits.size) { exponents[it] / sum }
}
