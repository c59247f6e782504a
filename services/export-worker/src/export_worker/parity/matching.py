"""Final predictions of two models, matched as sets: by class, overlap and what they have beside a box, never by position in a list."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from export_worker.loaded import Found
from export_worker.parity.shapes import FEW, Apart, apart, corners, rotated_iou
from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Match(NamedTuple):
    """How two lists of predictions compare.

    `edge` counts what is unmatched only because its confidence lies within tolerance of a threshold or its mask is a pixel or two,
    `clear` what is unmatched for no such reason, in the list that has more of it; `strict` what of it, in both lists, is above the
    default threshold, `confident` all of the source's that are. `tied` and `tied_strict`: the same two where ties explain them.
    `min_iou` leaves out boxes thinner than a pixel, `min_mask_iou` small masks; `max_pixels` is that of a box's side, of a rotated
    box's corner.
    """

    source: int
    artefact: int
    matched: int
    edge: int
    clear: int
    strict: int
    confident: int
    min_iou: float | None
    max_pixels: float | None
    max_confidence: float
    min_mask_iou: float | None = None
    max_keypoint: float | None = None
    tied: int = 0
    tied_strict: int = 0


class Table(NamedTuple):
    """Predictions as columns: `edges` are boxes [N, 4] (zeros without boxes) or corners of rotated boxes [N, 8], `shortest` their
    shorter side, `scores` [N], `classes` [N]."""

    found: tuple[Found, ...]
    edges: Floats
    shortest: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[Found], *, rotated: bool) -> "Table":
        """Best confidence first, as given among equals."""
        ordered = tuple(sorted(found, key=lambda one: -one.confidence))
        if rotated:
            turned = np.array([one.rotated or (0.0,) * 5 for one in ordered], np.float64).reshape(-1, 5)
            edges, shortest = corners(turned), turned[:, 2:4].min(axis=1)
        else:
            edges = np.array([one.box or (0.0,) * 4 for one in ordered], np.float64).reshape(-1, 4)
            shortest = np.minimum(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1])
        scores = np.array([one.confidence for one in ordered], np.float64)
        return cls(ordered, edges, shortest, scores, np.array([one.class_id for one in ordered], np.int64))


class Pair(NamedTuple):
    """Rows of the two tables that are the same prediction."""

    source: int
    artefact: int
    apart: Apart


def match(
    source: Sequence[Found],
    artefact: Sequence[Found],
    limits: Tolerance,
    *,
    threshold: float,
    default: float,
    limit: int,
    regions: bool = False,
) -> Match:
    """Greedy, best confidence first. `threshold` cut both lists, `limit` is the longest that a list can be.

    `regions`: each prediction is all pixels of a class, and one pixel far away changes its box: only the masks count.
    """
    rotated = any(one.rotated is not None for one in (*source, *artefact))
    a, b = Table.of(source, rotated=rotated), Table.of(artefact, rotated=rotated)
    pairs = _pairs(a, b, limits, regions=regions)
    end = max([threshold] + [float(each.scores.min()) for each in (a, b) if len(each.scores) >= limit])
    lonely = [
        _without(a.found, {pair.source for pair in pairs}),
        _without(b.found, {pair.artefact for pair in pairs}),
    ]
    clear = [[one for one in some if _is_clear(one, end + limits.confidence / 10)] for some in lonely]
    high = default + limits.confidence
    boxed = not regions and any(one.box is not None for one in (*source, *artefact))
    return Match(
        source=len(source),
        artefact=len(artefact),
        matched=len(pairs),
        edge=sum(map(len, lonely)) - sum(map(len, clear)),
        clear=max(map(len, clear)),
        strict=sum(one.confidence > high for some in clear for one in some),
        confident=sum(one.confidence > high for one in source),
        min_iou=min(_overlaps(a, b, pairs), default=None) if boxed else None,
        max_pixels=max((_sides(a, b, pair) for pair in pairs), default=None) if boxed else None,
        max_confidence=max((abs(float(a.scores[p.source] - b.scores[p.artefact])) for p in pairs), default=0.0),
        min_mask_iou=min((p.apart.mask_iou for p in pairs if p.apart.mask_iou is not None), default=None),
        max_keypoint=max((p.apart.points for p in pairs if p.apart.points is not None), default=None),
    )


def _is_clear(one: Found, end: float) -> bool:
    """Whether a prediction is far from the end of its list, and no mask of a pixel or two."""
    return one.confidence > end and (one.mask is None or int(np.count_nonzero(one.mask)) > FEW)


def _pairs(a: Table, b: Table, limits: Tolerance, *, regions: bool) -> list[Pair]:
    """For each row of `a` the nearest free row of `b` that is the same prediction within the limits."""
    free: Flags = np.ones(len(b.scores), np.bool_)
    pairs = []
    for row, own in enumerate(a.found):
        distance = np.abs(b.scores - own.confidence)
        can = free & (b.classes == own.class_id) & (distance <= limits.confidence)
        if not regions and can.any():
            sides = np.abs(b.edges - a.edges[row]).max(axis=1)
            can &= (sides <= limits.pixels) | _overlap_enough(a, b, row, sides, limits)
            distance = distance + sides
        for other in sorted(np.flatnonzero(can).tolist(), key=distance.__getitem__):
            difference = apart(own, b.found[other])
            if difference.within(limits):
                pairs.append(Pair(row, other, difference))
                free[other] = False
                break
    return pairs


def _overlap_enough(a: Table, b: Table, row: int, sides: Floats, limits: Tolerance) -> Flags:
    """Which of `b` overlap a row of `a` as much as the limit says; of rotated boxes, whose corners are that near."""
    if a.edges.shape[1] == 8:
        # corners that moved by d take at most 4 d / shortest of the overlap
        near: Flags = sides <= (1 - limits.iou) / 4 * a.shortest[row]
        return near
    enough: Flags = iou(a.edges[row][None], b.edges) >= limits.iou
    return enough


def _without(found: Sequence[Found], taken: set[int]) -> list[Found]:
    return [one for row, one in enumerate(found) if row not in taken]


def _overlaps(a: Table, b: Table, pairs: Sequence[Pair]) -> list[float]:
    wide = [p for p in pairs if a.shortest[p.source] >= 1.0 and b.shortest[p.artefact] >= 1.0]
    if a.edges.shape[1] == 8:
        return [rotated_iou(a.edges[p.source], b.edges[p.artefact]) for p in wide]
    overlaps: list[float] = iou(a.edges[[p.source for p in wide]], b.edges[[p.artefact for p in wide]]).tolist()
    return overlaps


def _sides(a: Table, b: Table, pair: Pair) -> float:
    return float(np.abs(a.edges[pair.source] - b.edges[pair.artefact]).max())


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union, row by row; 0 for empty boxes."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - shared
    overlap: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap
