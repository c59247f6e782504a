package modelport.processing

import kotlin.math.min
import modelport.processing.decoders.Candidates

/*
 * Candidates to objects: which are kept, and how what belongs to them gets back into the picture.
 */

/** Which candidates become objects; nothing is suppressed where [iou] is null. */
internal class Choice(val isRotated: Boolean, val iou: Double?, val limit: Int, val isAgnostic: Boolean)

/** Indices to keep, best first. */
internal fun choose(found: Candidates, by: Choice): IntArray {
    if (by.iou == null) return best(found.scores, min(by.limit, found.scores.size))
    return if (by.isRotated) {
        Rotated.suppress(found.boxes, found.scores, found.classes, by.iou, by.limit, by.isAgnostic)
    } else {
        Nms.suppress(found.boxes, found.scores, found.classes, by.iou, by.limit, by.isAgnostic)
    }
}

/** In source pixels; an object whose mask is empty is none, as the trainer has it. */
internal fun predictions(found: Candidates, geometry: Geometry, name: (Int) -> String, isRotated: Boolean): List<Prediction> {
    val turned = if (isRotated) geometry.rotatedToSource(found.boxes) else null
    val upright = if (turned == null) geometry.toSource(found.boxes) else Rotated.enclosing(turned)
    val points = found.keypoints?.let(geometry::pointsToSource)
    val hasMasks = found.coefficients != null && found.prototypes != null
    val masks = if (hasMasks) instanceMasks(found.coefficients, found.prototypes, upright, geometry.source) else null
    return found.scores.indices.filter { masks == null || masks[it] != null }.map { row ->
        Prediction(
            classId = found.classes[row],
            className = name(found.classes[row]),
            confidence = found.scores[row],
            bbox = Box(upright[row, 0], upright[row, 1], upright[row, 2], upright[row, 3]),
            rotatedBox = turned?.let { RotatedBox(it[row, 0], it[row, 1], it[row, 2], it[row, 3], it[row, 4]) },
            keypoints = points?.let { keypoints(it, row) },
            mask = masks?.get(row),
        )
    }
}

private fun keypoints(points: Rows, row: Int): List<Keypoint> =
    (0 until points.width step 3).map { Keypoint(points[row, it], points[row, it + 1], points[row, it + 2]) }
