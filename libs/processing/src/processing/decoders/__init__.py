"""Raw outputs of one picture to class scores, candidate boxes or logits of regions: pure functions, chosen by name."""

from __future__ import annotations

from collections.abc import Mapping

from processing.decoders import classifiers, detr, yolo
from processing.decoders.base import Candidates, Decoder, Kind, Model, single

_OBJECTS = Kind.OBJECTS

DECODERS: Mapping[str, Decoder] = {
    "softmax": Decoder(Kind.CLASSES, classifiers.softmax),
    "probabilities": Decoder(Kind.CLASSES, classifiers.probabilities),
    "yolo_v8": Decoder(_OBJECTS, yolo.yolo_v8),
    "yolo_v8_segment": Decoder(_OBJECTS, yolo.yolo_v8_segment, outputs=2, masks=True),
    "yolo_v8_pose": Decoder(_OBJECTS, yolo.yolo_v8_pose, keypoints=True),
    "yolo_v8_obb": Decoder(_OBJECTS, yolo.yolo_v8_obb, rotated=True),
    "yolo_end2end": Decoder(_OBJECTS, yolo.yolo_end2end),
    "yolo_end2end_segment": Decoder(_OBJECTS, yolo.yolo_end2end_segment, outputs=2, masks=True),
    "yolo_end2end_pose": Decoder(_OBJECTS, yolo.yolo_end2end_pose, keypoints=True),
    "yolo_end2end_obb": Decoder(_OBJECTS, yolo.yolo_end2end_obb, rotated=True),
    "detr_softmax": Decoder(_OBJECTS, detr.detr_softmax, outputs=2),
    "detr_sigmoid": Decoder(_OBJECTS, detr.detr_sigmoid, outputs=2),
    "semantic_logits": Decoder(Kind.REGIONS, lambda output: single(output, 4), masks=True),
}
"""`postprocessing.decoder` of metadata.json; the outputs are taken in the order of `output_spec`."""

__all__ = ["DECODERS", "Candidates", "Decoder", "Kind", "Model"]
