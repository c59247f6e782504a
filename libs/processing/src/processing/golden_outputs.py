"""Outputs that travel as golden vectors: a model's own, cut down to a few candidates, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.decoders import Kind
from processing.pipeline import Pipeline

Array = NDArray[Any]

BEST, OTHERS = 40, 24
"""Candidates kept: those of the highest scores, and some of the rest."""
LONGEST_LOGITS = 32
"""Of a side of logits of regions."""

SOURCES: Mapping[Kind, tuple[tuple[int, int], ...]] = {
    Kind.CLASSES: ((480, 640),) * 8,
    Kind.OBJECTS: ((480, 640), (1, 64), (64, 1), (1, 1), (720, 1280), (333, 251), (97, 131), (320, 320)),
    Kind.REGIONS: ((48, 64), (1, 64), (64, 1), (1, 1), (240, 320), (97, 131), (131, 97), (160, 160)),
}
"""Sizes (height, width) of the pictures that the outputs are taken to be of."""

ROWS: Mapping[str, int] = {
    "detr_softmax": 2,
    "detr_sigmoid": 2,
    "yolo_end2end": 1,
    "yolo_end2end_segment": 1,
    "yolo_end2end_pose": 1,
    "yolo_end2end_obb": 1,
}
"""Decoders of rows without an order, and how many outputs hold them: rows of nearly equal scores change places."""


class Axis(NamedTuple):
    """Along which axis the candidates of some outputs lie, and their scores, [candidates]."""

    number: int
    outputs: int
    scores: Callable[[Array, int], Array]


def _anchors(output: Array, classes: int) -> Array:
    scores: Array = output[0, 4 : 4 + classes].max(axis=0)
    return scores


def _rows(output: Array, _classes: int) -> Array:
    scores: Array = output[0, :, 4]
    return scores


def _queries(logits: Array, classes: int) -> Array:
    scores: Array = logits[0, :, :classes].max(axis=1)
    return scores


AXES: Mapping[str, Axis] = {
    **dict.fromkeys(("yolo_v8", "yolo_v8_segment", "yolo_v8_pose", "yolo_v8_obb"), Axis(2, 1, _anchors)),
    **dict.fromkeys(
        ("yolo_end2end", "yolo_end2end_segment", "yolo_end2end_pose", "yolo_end2end_obb"), Axis(1, 1, _rows)
    ),
    **dict.fromkeys(("detr_softmax", "detr_sigmoid"), Axis(1, 2, _queries)),
}


def thinned(pipeline: Pipeline, outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs that the decoder reads, with few candidates, or regions of few logits; such as a smaller model might give."""
    names = pipeline.output_names[: pipeline.post.traits.outputs]
    kept = {name: outputs[name] for name in names}
    if pipeline.post.traits.kind is Kind.REGIONS:
        step = -(-max(kept[names[0]].shape[2:]) // LONGEST_LOGITS)
        return {name: np.ascontiguousarray(value[:, :, ::step, ::step]) for name, value in kept.items()}
    axis = AXES.get(pipeline.post.decoder)
    if axis is None:
        return kept
    scores = axis.scores(kept[names[0]], len(pipeline.classes))
    order = np.argsort(-scores, kind="stable")
    rest = order[BEST:]
    chosen = np.sort(np.concatenate([order[:BEST], rest[:: max(len(rest) // OTHERS, 1)][:OTHERS]]))
    cut = {name: np.ascontiguousarray(kept[name].take(chosen, axis.number)) for name in names[: axis.outputs]}
    return kept | cut


ASKED: Mapping[Kind, Mapping[int, dict[str, float]]] = {
    Kind.CLASSES: {6: {"confidence_threshold": 0.1}, 7: {"top_k": 1}},
    Kind.OBJECTS: {
        1: {"confidence_threshold": 0.05},
        3: {"confidence_threshold": 0.01},
        5: {"confidence_threshold": 0.05, "iou_threshold": 0.7},
        6: {"iou_threshold": 0.3},
        7: {"max_detections": 1},
    },
    Kind.REGIONS: {6: {"max_detections": 2}, 7: {"confidence_threshold": 0.3}},
}
"""Options of a variant that are not the metadata's: a low confidence lets many candidates through."""


def turned(kind: Kind, variant: int, outputs: dict[str, Array]) -> dict[str, Array]:
    """Of classes, another class in front each time; of anything else, the very same outputs."""
    if kind is not Kind.CLASSES or variant == 0:
        return outputs
    return {name: np.roll(value, variant * (value.shape[1] // 8 + 1), axis=1) for name, value in outputs.items()}


def options(kind: Kind, variant: int, confidence: float | None) -> dict[str, Any]:
    """What a call asks for: mostly the metadata's, now and then an option of its own."""
    asked: dict[str, Any] = {
        "confidence_threshold": confidence,
        "iou_threshold": None,
        "max_detections": None,
        "top_k": None,
    }
    return asked | ASKED[kind].get(variant, {})
