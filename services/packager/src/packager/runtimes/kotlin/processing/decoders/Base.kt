package modelport.processing.decoders

import modelport.processing.FloatTensor
import modelport.processing.MetadataError
import modelport.processing.Rows
import modelport.processing.Size

/** Points of an object, and numbers per point. */
internal data class KeypointShape(val points: Int, val numbers: Int)

/** What a decoder has to know beside the outputs. */
internal class Model(val classes: Int, val keypointShape: KeypointShape?, val inputSize: Size)

/**
 * Candidates above the confidence, in input pixels.
 *
 * [boxes] are x1 y1 x2 y2, of rotated boxes cx cy w h angle; [keypoints] hold x, y and confidence of each point, [coefficients] those
 * of the mask; [prototypes] [M, h, w] are those of all masks.
 */
internal class Candidates(
    val boxes: Rows,
    val scores: FloatArray,
    val classes: IntArray,
    val keypoints: Rows? = null,
    val coefficients: Rows? = null,
    val prototypes: FloatTensor? = null,
) {
    /** Those candidates alone, in that order. */
    fun take(rows: IntArray): Candidates = Candidates(
        boxes.take(rows),
        FloatArray(rows.size) { scores[rows[it]] },
        IntArray(rows.size) { classes[rows[it]] },
        keypoints?.take(rows),
        coefficients?.take(rows),
        prototypes,
    )

    /** The same with what a task adds. */
    fun with(
        boxes: Rows = this.boxes,
        keypoints: Rows? = null,
        coefficients: Rows? = null,
        prototypes: FloatTensor? = null,
    ): Candidates = Candidates(boxes, scores, classes, keypoints, coefficients, prototypes)
}

/** The only picture's output without the batch axis; MetadataError for another number of axes or pictures. */
internal fun single(output: FloatTensor, dimensions: Int): FloatTensor {
    if (output.shape.size != dimensions || output.shape[0] != 1) {
        throw wrong("the output's shape is ${output.shape}, not $dimensions-D of batch 1")
    }
    return FloatTensor(output.shape.drop(1), output.values)
}

/** The error for outputs that are not those of the decoder. */
internal fun wrong(message: String): MetadataError = MetadataError("postprocessing.decoder", message)

/** cx cy w h to x1 y1 x2 y2. */
internal fun corners(centred: Rows): Rows = Rows(centred.count, 4) { row, column ->
    val axis = column % 2
    val half = centred[row, 2 + axis] / 2f
    if (column < 2) centred[row, axis] - half else centred[row, axis] + half
}
