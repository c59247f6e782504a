"""Final predictions of two models, matched as sets: by class and overlap, never by position in a list."""

from collections.abc import Sequence
from typing import NamedTuple

from export_worker.loaded import Found
from export_worker.tolerances import Tolerance

Box = tuple[float, float, float, float]


class Match(NamedTuple):
    """How two lists of predictions compare.

    `edge` counts what is unmatched only because its confidence lies within tolerance of a threshold, `strict` what is unmatched
    although its confidence is above the default threshold. `min_iou` leaves out boxes thinner than a pixel.
    """

    source: int
    artefact: int
    matched: int
    edge: int
    strict: int
    min_iou: float | None
    max_pixels: float | None
    max_confidence: float


def match(
    source: Sequence[Found],
    artefact: Sequence[Found],
    tolerance: Tolerance,
    *,
    threshold: float,
    default: float,
    limit: int,
) -> Match:
    """Greedy, best confidence first. `threshold` cut both lists, `limit` is the longest that a list can be."""
    free = list(artefact)
    pairs: list[tuple[Found, Found]] = []
    lonely: list[Found] = []
    for one in sorted(source, key=lambda found: -found.confidence):
        other = min((f for f in free if _same(one, f, tolerance)), key=lambda f: _distance(one, f), default=None)
        if other is None:
            lonely.append(one)
        else:
            free.remove(other)
            pairs.append((one, other))
    lonely += free
    edge = [f for f in lonely if _on_edge(f, (source, artefact), tolerance, threshold, limit)]
    clear = [f for f in lonely if f not in edge]
    boxes = [(a.box, b.box) for a, b in pairs if a.box and b.box]
    return Match(
        source=len(source),
        artefact=len(artefact),
        matched=len(pairs),
        edge=len(edge),
        strict=sum(f.confidence > default + tolerance.confidence for f in clear),
        min_iou=min((iou(a, b) for a, b in boxes if min(_shortest(a), _shortest(b)) >= 1.0), default=None),
        max_pixels=max((side_difference(a, b) for a, b in boxes), default=None),
        max_confidence=max((abs(a.confidence - b.confidence) for a, b in pairs), default=0.0),
    )


def _same(a: Found, b: Found, tolerance: Tolerance) -> bool:
    if a.class_id != b.class_id or abs(a.confidence - b.confidence) > tolerance.confidence:
        return False
    if a.box is None or b.box is None:
        return a.box is b.box
    return iou(a.box, b.box) >= tolerance.iou or side_difference(a.box, b.box) <= tolerance.pixels


def _distance(a: Found, b: Found) -> float:
    boxes = side_difference(a.box, b.box) if a.box and b.box else 0.0
    return boxes + abs(a.confidence - b.confidence)


def _on_edge(
    found: Found, lists: tuple[Sequence[Found], Sequence[Found]], tolerance: Tolerance, threshold: float, limit: int
) -> bool:
    ends = [threshold] + [min(f.confidence for f in each) for each in lists if len(each) >= limit]
    return found.confidence <= max(ends) + tolerance.confidence / 10


def _shortest(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def side_difference(a: Box, b: Box) -> float:
    """The largest distance of two corresponding sides, in pixels."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def iou(a: Box, b: Box) -> float:
    """Intersection over union; 1 for equal boxes, however small."""
    if a == b:
        return 1.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0
