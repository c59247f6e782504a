"""Rotated boxes cx cy w h angle (radians): their overlap, suppression and corners, with the trainer's float32 arithmetic.

The overlap is Ultralytics' probabilistic IoU (https://arxiv.org/pdf/2106.06072v1.pdf): boxes are Gaussians, compared by
the Hellinger distance. Its suppression differs from the greedy one: a box goes if it overlaps any better box of its class,
even one that went itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processing.nms import CLASS_OFFSET, MAX_CANDIDATES

_EPSILON = np.float32(1e-7)
_BLOCK = 256

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


def suppress(
    boxes: Floats, scores: Floats, classes: Indices, iou: float, limit: int, *, agnostic: bool = False
) -> Indices:
    """Indices of the boxes to keep, best first, at most `limit`; `boxes` is float32 [N, 5]."""
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    apart = boxes[order]
    if not agnostic:
        apart[:, :2] += (classes[order].astype(np.float32) * np.float32(CLASS_OFFSET))[:, None]
    threshold, kept = np.float32(iou), np.empty(0, np.intp)
    for start in range(0, len(order), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(order)))
        gone = np.zeros(len(block), np.bool_)
        for better in range(0, start + 1, _BLOCK):
            rows = np.arange(better, min(better + _BLOCK, len(order)))
            conflict = overlap(apart[rows], apart[block]) > threshold
            gone |= (conflict & (rows[:, None] < block[None, :])).any(axis=0)
        kept = np.concatenate([kept, block[~gone]])
        if len(kept) >= limit:
            break
    return order[kept[:limit]]


def overlap(a: Floats, b: Floats) -> Floats:
    """Probabilistic IoU of every pair, float32 [A, B]."""
    (a1, b1, c1), (a2, b2, c2) = _covariance(a[:, None]), _covariance(b[None])
    dx, dy = b[None, :, 0] - a[:, None, 0], a[:, None, 1] - b[None, :, 1]
    wide, high, mixed = a1 + a2, b1 + b2, c1 + c2
    spread = wide * high - mixed * mixed
    with np.errstate(all="ignore"):
        near = (wide * (dy * dy) + high * (dx * dx)) / (spread + _EPSILON) * np.float32(0.25)
        turned = (mixed * dx * dy) / (spread + _EPSILON) * np.float32(0.5)
        own = np.maximum(a1 * b1 - c1 * c1, 0) * np.maximum(a2 * b2 - c2 * c2, 0)
        shape = np.log(spread / (4 * np.sqrt(own) + _EPSILON) + _EPSILON) * np.float32(0.5)
        distance = np.clip(near + turned + shape, _EPSILON, np.float32(100))
        ratio: Floats = 1 - np.sqrt(np.float32(1) - np.exp(-distance) + _EPSILON)
    return ratio


def _covariance(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """Of the Gaussian [[a, c], [c, b]] that stands for a box."""
    w, h, angle = boxes[..., 2] ** 2 / np.float32(12), boxes[..., 3] ** 2 / np.float32(12), boxes[..., 4]
    cos, sin = np.cos(angle), np.sin(angle)
    return w * cos**2 + h * sin**2, w * sin**2 + h * cos**2, (w - h) * cos * sin


def enclosing(boxes: Floats) -> Floats:
    """The upright boxes x1 y1 x2 y2 around rotated ones, [N, 4]; they may reach beyond the picture, as their boxes do."""
    points = corners(boxes)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def corners(boxes: Floats) -> Floats:
    """The four corners of each box, float32 [N, 4, 2]."""
    centre, angle = boxes[:, :2], boxes[:, 4:]
    cos, sin = np.cos(angle), np.sin(angle)
    width, height = boxes[:, 2:3] / np.float32(2), boxes[:, 3:4] / np.float32(2)
    along = np.concatenate([width * cos, width * sin], axis=1)
    beside = np.concatenate([-height * sin, height * cos], axis=1)
    return np.stack(
        [centre + along + beside, centre + along - beside, centre - along - beside, centre - along + beside], 1
    )
