"""Candidates to objects: which are kept, and how what belongs to them gets back into the picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from processing import nms, rotated
from processing.decoders.base import Candidates, Floats, Indices
from processing.geometry import Geometry
from processing.instances import instance_masks
from processing.predictions import Box, Prediction


def choose(found: Candidates, *, is_rotated: bool, iou: float | None, limit: int, agnostic: bool) -> Indices:
    """Indices to keep, best first, at most `limit`; nothing is suppressed where `iou` is None."""
    if iou is None:
        order: Indices = np.argsort(-found.scores, kind="stable")[:limit]
        return order
    suppress = rotated.suppress if is_rotated else nms.suppress
    return suppress(found.boxes, found.scores, found.classes, iou, limit, agnostic=agnostic)


def predictions(
    found: Candidates, geometry: Geometry, name: Callable[[int], str], *, is_rotated: bool
) -> list[Prediction]:
    """In source pixels; an object whose mask is empty is none, as the trainer has it."""
    turned = geometry.rotated_to_source(found.boxes) if is_rotated else None
    upright = geometry.to_source(found.boxes) if turned is None else rotated.enclosing(turned)
    points = None if found.keypoints is None else geometry.points_to_source(found.keypoints)
    masks = None
    if found.coefficients is not None and found.prototypes is not None:
        masks = instance_masks(found.coefficients, found.prototypes, upright, geometry.source)
    return [
        Prediction(
            class_id=class_id,
            class_name=name(class_id),
            confidence=score,
            bbox=_box(upright[row]),
            rotated_box=None if turned is None else (*_box(turned[row]), float(turned[row, 4])),
            keypoints=None if points is None else tuple((x, y, sure) for x, y, sure in points[row].tolist()),
            mask=None if masks is None else masks[row],
        )
        for row, (class_id, score) in enumerate(zip(found.classes.tolist(), found.scores.tolist(), strict=True))
        if masks is None or masks[row] is not None
    ]


def _box(row: Floats) -> Box:
    return float(row[0]), float(row[1]), float(row[2]), float(row[3])
