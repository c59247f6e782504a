"""YOLO heads: one column an anchor, to be suppressed, or one row an object of a graph that needs no suppression.

After box and classes an anchor holds what its task adds: mask coefficients, keypoints or an angle. Numbers of a keypoint lie
together: x, y and, where there are three, its confidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processing.decoders.base import Candidates, Floats, Model, corners, single, wrong

Raw = NDArray[np.generic]


def yolo_v8(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, 4 + C, anchors]: centre x, centre y, width, height and C class scores per anchor; the best class counts."""
    rows = output.shape[1] - 4 if output.ndim == 3 else 0
    found, _ = _anchors(output, max(rows, 1), 0, confidence)
    return found._replace(boxes=corners(found.boxes))


def yolo_v8_segment(output: Raw, prototypes: Raw, model: Model, confidence: float) -> Candidates:
    """[1, 4 + C + M, anchors], the last rows being coefficients of the prototypes [1, M, h, w]."""
    planes = single(prototypes, 4)
    found, extra = _anchors(output, model.classes, len(planes), confidence)
    return found._replace(boxes=corners(found.boxes), coefficients=extra, prototypes=planes)


def yolo_v8_pose(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, 4 + C + points * dims, anchors]."""
    found, extra = _anchors(output, model.classes, _numbers(model), confidence)
    return found._replace(boxes=corners(found.boxes), keypoints=_keypoints(extra, model))


def yolo_v8_obb(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, 4 + C + 1, anchors], the last row being the angle in radians; boxes are cx cy w h angle."""
    found, angle = _anchors(output, model.classes, 1, confidence)
    return found._replace(boxes=np.concatenate([found.boxes, angle], axis=1))


def yolo_end2end(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, K, 6]: x1 y1 x2 y2 score class, already suppressed or never in need of it."""
    return _rows(output, 0, confidence)[0]


def yolo_end2end_segment(output: Raw, prototypes: Raw, model: Model, confidence: float) -> Candidates:
    """[1, K, 6 + M] and the prototypes [1, M, h, w]."""
    planes = single(prototypes, 4)
    found, extra = _rows(output, len(planes), confidence)
    return found._replace(coefficients=extra, prototypes=planes)


def yolo_end2end_pose(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, K, 6 + points * dims]."""
    found, extra = _rows(output, _numbers(model), confidence)
    return found._replace(keypoints=_keypoints(extra, model))


def yolo_end2end_obb(output: Raw, model: Model, confidence: float) -> Candidates:
    """[1, K, 7]: cx cy w h score class angle."""
    found, angle = _rows(output, 1, confidence)
    return found._replace(boxes=np.concatenate([found.boxes, angle], axis=1))


def _anchors(output: Raw, classes: int, extra: int, confidence: float) -> tuple[Candidates, Floats]:
    """Anchors whose best class is above the confidence, as cx cy w h, and the `extra` numbers of each, [N, extra]."""
    raw = single(output, 3)
    if raw.shape[0] != 4 + classes + extra:
        raise wrong(f"needs [1, 4 + {classes} classes + {extra}, anchors], got {output.shape}")
    scores = raw[4 : 4 + classes].max(axis=0)
    chosen = np.flatnonzero(scores > np.float32(confidence))
    picked = raw[:, chosen]
    best = picked[4 : 4 + classes].argmax(axis=0)
    return Candidates(picked[:4].T, scores[chosen], best), picked[4 + classes :].T


def _rows(output: Raw, extra: int, confidence: float) -> tuple[Candidates, Floats]:
    raw = single(output, 3)
    if raw.shape[1] != 6 + extra:
        raise wrong(f"needs [1, K, 6 + {extra}], got {output.shape}")
    picked = raw[raw[:, 4] > np.float32(confidence)]
    return Candidates(picked[:, :4], picked[:, 4], picked[:, 5].astype(np.intp)), picked[:, 6:]


def _numbers(model: Model) -> int:
    points, dims = model.keypoint_shape or (0, 0)
    return points * dims


def _keypoints(extra: Floats, model: Model) -> Floats:
    points, dims = model.keypoint_shape or (0, 0)
    given = extra.reshape(len(extra), points, dims)
    filled = np.ones((len(extra), points, 3), np.float32)
    filled[..., :dims] = given
    return filled
