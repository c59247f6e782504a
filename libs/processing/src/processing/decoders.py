"""Raw model outputs to class scores or boxes; pure functions on one picture's output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import MetadataError

Floats = NDArray[np.float32]


class Boxes(NamedTuple):
    """Candidates above the confidence: `xyxy` float32 [N, 4] in input pixels, `scores` float32 [N], `classes` [N]."""

    xyxy: Floats
    scores: Floats
    classes: NDArray[np.intp]


def softmax(output: NDArray[np.generic]) -> Floats:
    """Logits [1, C] to probabilities float32 [C]."""
    logits = _single(output, 2)
    exponent = np.exp(logits - logits.max())
    probabilities: Floats = exponent / exponent.sum()
    return probabilities


def probabilities(output: NDArray[np.generic]) -> Floats:
    """Class probabilities [1, C] to float32 [C]."""
    return _single(output, 2)


def yolo_v8(output: NDArray[np.generic], confidence: float) -> Boxes:
    """[1, 4 + C, anchors]: centre x, centre y, width, height and C class scores per anchor; the best class counts."""
    raw = _single(output, 3)
    if raw.shape[0] < 5:
        raise MetadataError("postprocessing.decoder", f"yolo_v8 needs [1, 4 + classes, anchors], got {output.shape}")
    scores = raw[4:].max(axis=0)
    chosen = np.flatnonzero(scores > np.float32(confidence))
    picked = raw[:, chosen]
    half = picked[2:4] / np.float32(2)
    xyxy = np.concatenate([picked[:2] - half, picked[:2] + half]).T
    return Boxes(xyxy, scores[chosen], picked[4:].argmax(axis=0))


def yolo_end2end(output: NDArray[np.generic], confidence: float) -> Boxes:
    """[1, K, 6]: x1 y1 x2 y2 score class, already suppressed or never in need of it."""
    raw = _single(output, 3)
    if raw.shape[1] != 6:
        raise MetadataError("postprocessing.decoder", f"yolo_end2end needs [1, K, 6], got {output.shape}")
    picked = raw[raw[:, 4] > np.float32(confidence)]
    return Boxes(picked[:, :4], picked[:, 4], picked[:, 5].astype(np.intp))


def _single(output: NDArray[np.generic], dimensions: int) -> Floats:
    """The only picture's float32 output."""
    if output.ndim != dimensions or output.shape[0] != 1:
        raise MetadataError(
            "postprocessing.decoder", f"the output's shape is {output.shape}, not {dimensions}-D of batch 1"
        )
    single: Floats = np.asarray(output[0], dtype=np.float32)
    return single


CLASSIFIERS = {"softmax": softmax, "probabilities": probabilities}
DETECTORS = {"yolo_v8": yolo_v8, "yolo_end2end": yolo_end2end}
