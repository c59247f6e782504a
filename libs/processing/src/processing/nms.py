"""Greedy non-maximum suppression, class-aware, vectorised; the order and the float32 arithmetic are the trainer's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASS_OFFSET = 7680
"""Boxes of different classes are moved this many pixels apart, as Ultralytics does, so that they never overlap."""
MAX_CANDIDATES = 30_000
_BLOCK = 256

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


def suppress(
    boxes: Floats, scores: Floats, classes: Indices, iou: float, limit: int, *, agnostic: bool = False
) -> Indices:
    """Indices of the boxes to keep, best first, at most `limit`.

    `boxes` float32 [N, 4] x1 y1 x2 y2, `scores` float32 [N], `classes` integer [N]. A box goes if its IoU with a kept,
    better one of its class is greater than `iou`; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    apart = boxes[order]
    if not agnostic:
        apart = apart + (classes[order].astype(np.float32) * np.float32(CLASS_OFFSET))[:, None]
    threshold = np.float32(iou)
    kept: Indices = np.empty(0, np.intp)
    for start in range(0, len(order), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(order)))
        if len(kept):
            block = block[~(overlap(apart[kept], apart[block]) > threshold).any(axis=0)]
        kept = np.concatenate([kept, block[_survivors(overlap(apart[block], apart[block]) > threshold)]])
        if len(kept) >= limit:
            break
    return order[kept[:limit]]


def overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every pair, float32 [A, B]; an empty pair gives NaN, which suppresses nothing."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    np.maximum(corner, 0, out=corner)
    shared = corner[..., 0] * corner[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = shared / (_area(a)[:, None] + _area(b)[None, :] - shared)
    return ratio


def _area(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _survivors(conflict: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Greedy choice among sorted boxes: the one fixed point of `kept[j] = no kept i < j in conflict with j`."""
    conflict = np.triu(conflict, k=1)
    kept: NDArray[np.bool_] = np.ones(len(conflict), np.bool_)
    while True:
        after: NDArray[np.bool_] = np.logical_not(np.logical_or.reduce(conflict[kept], axis=0))
        if np.array_equal(after, kept):
            return kept
        kept = after
