package modelport.processing.decoders

import modelport.processing.FloatTensor
import modelport.processing.Rows
import modelport.processing.highest
import modelport.processing.indicesWhere

/*
 * YOLO heads: one column an anchor, to be suppressed, or one row an object of a graph that needs no suppression.
 *
 * After box and classes an anchor holds what its task adds: mask coefficients, keypoints or an angle. Numbers of a keypoint lie
 * together: x, y and, where there are three, its confidence.
 */

/** [1, 4 + C, anchors]: centre x, centre y, width, height and C class scores per anchor; the best class counts. */
internal fun yoloV8(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val rows = if (outputs[0].shape.size == 3) outputs[0].shape[1] - 4 else 0
    val (found, _) = anchors(outputs[0], maxOf(rows, 1), 0, confidence)
    return found.with(boxes = corners(found.boxes))
}

/** [1, 4 + C + M, anchors], the last rows being coefficients of the prototypes [1, M, h, w]. */
internal fun yoloV8Segment(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val planes = single(outputs[1], 4)
    val (found, extra) = anchors(outputs[0], model.classes, planes.shape[0], confidence)
    return found.with(boxes = corners(found.boxes), coefficients = extra, prototypes = planes)
}

/** [1, 4 + C + points * numbers, anchors]. */
internal fun yoloV8Pose(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (found, extra) = anchors(outputs[0], model.classes, numbers(model), confidence)
    return found.with(boxes = corners(found.boxes), keypoints = keypoints(extra, model))
}

/** [1, 4 + C + 1, anchors], the last row being the angle in radians; boxes are cx cy w h angle. */
internal fun yoloV8Obb(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (found, angle) = anchors(outputs[0], model.classes, 1, confidence)
    return found.with(boxes = turned(found.boxes, angle))
}

/** [1, K, 6]: x1 y1 x2 y2 score class, already suppressed or never in need of it. */
internal fun yoloEnd2End(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates =
    rows(outputs[0], 0, confidence).first

/** [1, K, 6 + M] and the prototypes [1, M, h, w]. */
internal fun yoloEnd2EndSegment(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val planes = single(outputs[1], 4)
    val (found, extra) = rows(outputs[0], planes.shape[0], confidence)
    return found.with(coefficients = extra, prototypes = planes)
}

/** [1, K, 6 + points * numbers]. */
internal fun yoloEnd2EndPose(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (found, extra) = rows(outputs[0], numbers(model), confidence)
    return found.with(keypoints = keypoints(extra, model))
}

/** [1, K, 7]: cx cy w h score class angle. */
internal fun yoloEnd2EndObb(outputs: List<FloatTensor>, model: Model, confidence: Float): Candidates {
    val (found, angle) = rows(outputs[0], 1, confidence)
    return found.with(boxes = turned(found.boxes, angle))
}

/** Anchors whose best class is above the confidence, as cx cy w h, and the [extra] numbers of each. */
private fun anchors(output: FloatTensor, classes: Int, extra: Int, confidence: Float): Pair<Candidates, Rows> {
    val raw = single(output, 3)
    val (rows, anchors) = raw.shape
    if (rows != 4 + classes + extra) {
        throw wrong("needs [1, 4 + $classes classes + $extra, anchors], got ${output.shape}")
    }
    val best = IntArray(anchors) { highest(raw.values, 4 * anchors + it, classes, anchors) }
    val scores = FloatArray(anchors) { raw.values[(4 + best[it]) * anchors + it] }
    val chosen = indicesWhere(anchors) { scores[it] > confidence }
    fun part(first: Int, width: Int) = Rows(chosen.size, width) { row, column -> raw.values[(first + column) * anchors + chosen[row]] }
    val classIds = IntArray(chosen.size) { best[chosen[it]] }
    return Candidates(part(0, 4), FloatArray(chosen.size) { scores[chosen[it]] }, classIds) to part(4 + classes, extra)
}

private fun rows(output: FloatTensor, extra: Int, confidence: Float): Pair<Candidates, Rows> {
    val raw = single(output, 3)
    val (count, width) = raw.shape
    if (width != 6 + extra) throw wrong("needs [1, K, 6 + $extra], got ${output.shape}")
    val all = Rows(count, width, raw.values)
    val picked = all.take(indicesWhere(count) { all[it, 4] > confidence })
    val found = Candidates(
        Rows(picked.count, 4) { row, column -> picked[row, column] },
        FloatArray(picked.count) { picked[it, 4] },
        IntArray(picked.count) { picked[it, 5].toInt() },
    )
    return found to Rows(picked.count, extra) { row, column -> picked[row, 6 + column] }
}

private fun turned(boxes: Rows, angle: Rows): Rows =
    Rows(boxes.count, 5) { row, column -> if (column < 4) boxes[row, column] else angle[row, 0] }

private fun numbers(model: Model): Int = model.keypointShape?.let { it.points * it.numbers } ?: 0

/** x, y and confidence of each point, the last being 1 where the model tells none. */
private fun keypoints(extra: Rows, model: Model): Rows {
    val (points, numbers) = model.keypointShape ?: KeypointShape(0, 0)
    return Rows(extra.count, points * 3) { row, column ->
        if (column % 3 < numbers) extra[row, column / 3 * numbers + column % 3] else 1f
    }
}
