"""How far apart two predictions are in what they have beside a box: corners of rotated boxes, keypoints, masks."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from export_worker.loaded import Found
from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
FEW = 2
"""Pixels by which masks of any size may differ, and the area up to which a mask may be missing: one tie along its edge."""
SMALL = 50
"""Pixels; smaller masks have no intersection over union worth telling, as a single tie changes it by percents."""


class Apart(NamedTuple):
    """Two predictions: `points` is the largest distance of a keypoint in pixels, `visibility` the largest difference of its third number,
    `mask_iou` is None without masks and where the larger one is small; `strays` are the pixels that only one mask has, `contour` those on
    the edge of either."""

    points: float | None = None
    visibility: float = 0.0
    mask_iou: float | None = None
    strays: int = 0
    contour: int = 0

    def within(self, limits: Tolerance) -> bool:
        """Whether this is no more than rounding."""
        if self.points is not None and not (
            self.points <= limits.keypoint_pixels and self.visibility <= limits.confidence
        ):
            return False
        overlap = self.mask_iou is None or self.mask_iou >= limits.mask_iou
        return self.strays <= FEW or (overlap and self.strays <= limits.mask_strays * self.contour)


def apart(a: Found, b: Found) -> Apart:
    """Keypoints and masks of two predictions that both have them; infinitely far where only one has or their numbers differ."""
    if (a.keypoints is None) != (b.keypoints is None) or (a.mask is None) != (b.mask is None):
        return Apart(points=math.inf)
    made = Apart()
    if a.keypoints is not None and b.keypoints is not None:
        if a.keypoints.shape != b.keypoints.shape:
            return Apart(points=math.inf)
        difference = np.abs(a.keypoints.astype(np.float64) - b.keypoints)
        distances = np.hypot(difference[:, 0], difference[:, 1])
        made = Apart(points=float(distances.max(initial=0.0)), visibility=float(difference[:, 2].max(initial=0.0)))
    if a.mask is not None and b.mask is not None:
        if a.mask.shape != b.mask.shape:
            return made._replace(mask_iou=0.0, strays=a.mask.size + b.mask.size)
        return _masks_apart(made, *_cut(a.mask, b.mask, a.box, b.box))
    return made


def _cut(a: Flags, b: Flags, of_a: Box | None, of_b: Box | None) -> tuple[Flags, Flags]:
    """Both masks, but only the part that their boxes enclose: outside are no pixels of either."""
    if of_a is None or of_b is None:
        return a, b
    left, top = (max(math.floor(min(of_a[i], of_b[i])) - 1, 0) for i in (0, 1))
    right, bottom = (math.ceil(max(of_a[i], of_b[i])) + 1 for i in (2, 3))
    return a[top:bottom, left:right], b[top:bottom, left:right]


def _masks_apart(made: Apart, a: Flags, b: Flags) -> Apart:
    strays = int(np.count_nonzero(a != b))
    areas = int(np.count_nonzero(a)), int(np.count_nonzero(b))
    shared = (sum(areas) - strays) // 2
    overlap = shared / max(sum(areas) - shared, 1) if max(areas) > SMALL else None
    edge = 0 if strays <= FEW else int(np.count_nonzero(contour(a) | contour(b)))
    return made._replace(mask_iou=overlap, strays=strays, contour=edge)


def contour(mask: Flags) -> Flags:
    """The pixels of a mask that have a neighbour outside of it, to the left, to the right, above or below."""
    wide = np.pad(mask, 1)
    inner: Flags = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner


def corners(boxes: Floats) -> Floats:
    """Of rotated boxes cx cy w h angle, [N, 5]: x and y of the four corners in turn, [N, 8]."""
    x, y, half_w, half_h = boxes[:, 0], boxes[:, 1], boxes[:, 2] / 2, boxes[:, 3] / 2
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    turned = [
        (x + sx * half_w * cos - sy * half_h * sin, y + sx * half_w * sin + sy * half_h * cos)
        for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    return np.stack([value for corner in turned for value in corner], axis=1)


def rotated_iou(a: Floats, b: Floats) -> float:
    """Intersection over union of two convex quadrangles given by their corners, [8] each, both turned the same way; 0 for empty ones."""
    inside = [(float(a[i]), float(a[i + 1])) for i in range(0, 8, 2)]
    other = [(float(b[i]), float(b[i + 1])) for i in range(0, 8, 2)]
    areas = area(inside) + area(other)
    for start, end in zip(other, [*other[1:], other[0]], strict=True):
        inside = _clip(inside, start, end)
    shared = area(inside)
    return shared / (areas - shared) if areas > shared else 0.0


def _clip(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    """What of a convex polygon lies to the left of the line from `start` to `end` (Sutherland and Hodgman, 1974)."""
    sides = [(end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) for x, y in polygon]
    kept: list[Point] = []
    for i, (point, side) in enumerate(zip(polygon, sides, strict=True)):
        before, before_side = polygon[i - 1], sides[i - 1]
        if (side >= 0) != (before_side >= 0):
            t = before_side / (before_side - side)
            kept.append((before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1])))
        if side >= 0:
            kept.append(point)
    return kept


def area(polygon: list[Point]) -> float:
    """Of a polygon, by the shoelace formula."""
    return abs(sum(polygon[i - 1][0] * y - x * polygon[i - 1][1] for i, (x, y) in enumerate(polygon))) / 2
