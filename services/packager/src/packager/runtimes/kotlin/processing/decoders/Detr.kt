package modelport.processing.decoders

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.min
import modelport.processing.FloatTensor
import modelport.processing.Rows
import modelport.processing.descending
import modelport.processing.highest
import modelport.processing.indicesWhere

/*
 * DETR's families: a set of queries, each with class logits and a box as fractions of the input; nothing to suppress.
 */

/** [1, Q, C + 1], the last class being "no object", and [1, Q, 4]; each query stands for its best class. */
internal fun detrSoftmax(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (logits, boxes) = queries(outputs)
    if (logits.width < 2) throw wrong("needs logits [1, Q, classes + 1], got ${outputs[0].shape}")
    val classes = logits.width - 1
    val likely = Rows(logits.count, classes, FloatArray(logits.count * classes))
    for (query in 0 until logits.count) {
        val row = softmaxOf(FloatArray(logits.width) { logits[query, it] })
        row.copyInto(likely.values, query * classes, 0, classes)
    }
    val best = IntArray(logits.count) { highest(likely.values, it * classes, classes) }
    val chosen = indicesWhere(logits.count) { likely[it, best[it]] > confidence }
    return Candidates(
        pixels(boxes.take(chosen), model),
        FloatArray(chosen.size) { likely[chosen[it], best[chosen[it]]] },
        IntArray(chosen.size) { best[chosen[it]] },
    )
}

/** [1, Q, C] and [1, Q, 4]: the best Q of all pairs of a query and a class, so that a query may be there twice. */
internal fun detrSigmoid(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (logits, boxes) = queries(outputs)
    val scores = FloatArray(logits.values.size) { sigmoid(logits.values[it]) }
    val chosen = indicesWhere(scores.size) { scores[it] > confidence }
    val order = descending(FloatArray(chosen.size) { scores[chosen[it]] })
    val best = IntArray(min(order.size, logits.count)) { chosen[order[it]] }
    return Candidates(
        pixels(boxes.take(IntArray(best.size) { best[it] / logits.width }), model),
        FloatArray(best.size) { scores[best[it]] },
        IntArray(best.size) { best[it] % logits.width },
    )
}

/** 1 / (1 + exp(-x)) without overflow. */
internal fun sigmoid(x: Float): Float {
    val small = exp(-abs(x))
    return (if (x >= 0) 1f else small) / (1f + small)
}

private fun queries(outputs: List<FloatTensor>): Pair<Rows, Rows> {
    val logits = single(outputs[0], 3)
    val boxes = single(outputs[1], 3)
    val (count, width) = logits.shape
    if (boxes.shape != listOf(count, 4) || width < 1) {
        throw wrong("needs logits [1, Q, classes] and boxes [1, Q, 4], got ${outputs[0].shape} and ${outputs[1].shape}")
    }
    return Rows(count, width, logits.values) to Rows(count, 4, boxes.values)
}

/** Fractions cx cy w h to x1 y1 x2 y2 in input pixels. */
private fun pixels(centred: Rows, model: Model): Rows {
    val (height, width) = model.inputSize
    val edges = corners(centred)
    return Rows(edges.count, 4) { row, column -> edges[row, column] * (if (column % 2 == 0) width else height).toFloat() }
}
