"""How well a prediction lies on an object, from 0 to 1: boxes, rotated boxes, masks and key points."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from samples.scenes import Points, Scene, Truth, corners, mask

SHARE_OF_BOX = 0.53
"""Of its box a body covers; Ultralytics' pose validation takes it for the area of COCO's key point similarity."""


class RunLengths(TypedDict):
    """COCO's uncompressed run lengths: columns one after the other, the first run is of zeros."""

    size: Sequence[int]
    counts: Sequence[int]


class Prediction(TypedDict):
    """What a predictor tells of one object, in pixels of the picture it was given."""

    class_id: int
    confidence: float
    bbox: Sequence[float] | None
    rotated_box: NotRequired[Sequence[float]]
    keypoints: NotRequired[Sequence[Sequence[float]]]
    mask: NotRequired[RunLengths]


def of_boxes(prediction: Prediction, truth: Truth, scene: Scene) -> float:
    """Intersection over union of two upright boxes."""
    box = prediction["bbox"]
    assert box is not None
    a, b = np.asarray(box, float), np.asarray(truth.box, float)
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = float(sides.prod())
    return shared / max(float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared, 1e-9)


def of_rotated_boxes(prediction: Prediction, truth: Truth, scene: Scene) -> float:
    """Intersection over union of two rotated boxes, by cutting one polygon with the other's edges."""
    assert truth.rotated is not None
    x, y, width, height, angle = prediction["rotated_box"]
    a, b = corners((x, y, width, height, angle)), corners(truth.rotated)
    shared = area(clipped(a, b))
    return shared / max(area(a) + area(b) - shared, 1e-9)


def of_masks(prediction: Prediction, truth: Truth, scene: Scene) -> float:
    """Intersection over union of the pixels."""
    found, wanted = pixels(prediction["mask"]), mask(truth.outline, *scene.size)
    if found.shape != wanted.shape:
        raise ValueError(f"a mask of {found.shape[0]} x {found.shape[1]} for a picture of {wanted.shape}")
    return float((found & wanted).sum() / max((found | wanted).sum(), 1))


def of_keypoints(prediction: Prediction, truth: Truth, scene: Scene) -> float:
    """COCO's object key point similarity; every point has the same tolerance, one over their number."""
    found, wanted = np.asarray(prediction["keypoints"], float)[:, :2], np.asarray(truth.keypoints, float)
    x0, y0, x1, y1 = truth.box
    scale = (2 / len(wanted)) ** 2 * SHARE_OF_BOX * (x1 - x0) * (y1 - y0) * 2
    return float(np.exp(-((found - wanted) ** 2).sum(axis=1) / scale).mean())


def pixels(runs: RunLengths) -> npt.NDArray[np.bool_]:
    """The mask [H, W] of run lengths; ValueError where they do not fill it exactly."""
    height, width = runs["size"]
    counts = np.asarray(runs["counts"], np.int64)
    if counts.sum() != height * width:
        raise ValueError(f"runs of {counts.sum()} pixels for a mask of {height} x {width}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def runs(found: npt.NDArray[np.bool_]) -> RunLengths:
    """The run lengths of a mask [H, W]."""
    flat = np.concatenate([[False], found.T.ravel(), [not found.T.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return RunLengths(size=list(found.shape), counts=np.diff(edges, prepend=0).tolist())


def area(polygon: Points) -> float:
    """Of a simple polygon, by the shoelace formula."""
    if len(polygon) < 3:
        return 0.0
    x, y = np.asarray(polygon).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clipped(polygon: Points, window: Points) -> Points:
    """What of a polygon lies in a convex window whose corners go clockwise on the screen (Sutherland, Hodgman)."""
    left = polygon
    for start, end in zip(window, window[1:] + window[:1], strict=True):
        kept: list[tuple[float, float]] = []
        for first, second in zip(left, left[1:] + left[:1], strict=True):
            near, far = _side(start, end, first), _side(start, end, second)
            if near >= 0:
                kept.append(first)
            if (near < 0) != (far < 0):
                share = near / (near - far)
                kept.append((first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1])))
        left = tuple(kept)
    return left


def _side(start: tuple[float, float], end: tuple[float, float], point: tuple[float, float]) -> float:
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])
