package modelport.processing.decoders

import modelport.processing.FloatTensor

/** How raw outputs of one picture are read, taken in the order of `output_spec`; each kind gives another answer. */
internal sealed class Decoder(val outputs: Int) {
    /** A class of the whole picture: the score of each. */
    class Classes(val decode: (FloatTensor) -> FloatArray) : Decoder(1)

    /** Objects with boxes, and what metadata is checked for. */
    class Objects(
        val decode: (List<FloatTensor>, Model, Float) -> Candidates,
        outputs: Int = 1,
        val isRotated: Boolean = false,
        val hasMasks: Boolean = false,
        val hasKeypoints: Boolean = false,
    ) : Decoder(outputs)

    /** All pixels of a class: logits [classes, height, width]. */
    class Regions(val decode: (FloatTensor) -> FloatTensor) : Decoder(1)
}

/** `postprocessing.decoder` of metadata.json. */
internal val DECODERS: Map<String, Decoder> = mapOf(
    "softmax" to Decoder.Classes(::softmax),
    "probabilities" to Decoder.Classes(::probabilities),
    "yolo_v8" to Decoder.Objects(::yoloV8),
    "yolo_v8_segment" to Decoder.Objects(::yoloV8Segment, outputs = 2, hasMasks = true),
    "yolo_v8_pose" to Decoder.Objects(::yoloV8Pose, hasKeypoints = true),
    "yolo_v8_obb" to Decoder.Objects(::yoloV8Obb, isRotated = true),
    "yolo_end2end" to Decoder.Objects(::yoloEnd2End),
    "yolo_end2end_segment" to Decoder.Objects(::yoloEnd2EndSegment, outputs = 2, hasMasks = true),
    "yolo_end2end_pose" to Decoder.Objects(::yoloEnd2EndPose, hasKeypoints = true),
    "yolo_end2end_obb" to Decoder.Objects(::yoloEnd2EndObb, isRotated = true),
    "detr_softmax" to Decoder.Objects(::detrSoftmax, outputs = 2),
    "detr_sigmoid" to Decoder.Objects(::detrSigmoid, outputs = 2),
    "semantic_logits" to Decoder.Regions { single(it, 4) },
)
