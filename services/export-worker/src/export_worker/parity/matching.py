"""Final predictions of two models, matched as sets: by class and overlap, never by position in a list."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from export_worker.loaded import Found
from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


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


class Table(NamedTuple):
    """Predictions as columns: `boxes` [N, 4] (zeros without boxes), `scores` [N], `classes` [N]."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[Found]) -> "Table":
        """Best confidence first, as given among equals."""
        ordered = sorted(found, key=lambda one: -one.confidence)
        return cls(
            np.array([one.box or (0.0, 0.0, 0.0, 0.0) for one in ordered], np.float64).reshape(-1, 4),
            np.array([one.confidence for one in ordered], np.float64),
            np.array([one.class_id for one in ordered], np.int64),
        )

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Table":
        return Table(self.boxes[chosen], self.scores[chosen], self.classes[chosen])


def match(
    source: Sequence[Found],
    artefact: Sequence[Found],
    limits: Tolerance,
    *,
    threshold: float,
    default: float,
    limit: int,
) -> Match:
    """Greedy, best confidence first. `threshold` cut both lists, `limit` is the longest that a list can be."""
    a, b = Table.of(source), Table.of(artefact)
    boxed = any(one.box is not None for one in (*source, *artefact))
    partner = _partners(a, b, limits)
    paired = partner >= 0
    lonely = np.concatenate([a.scores[~paired], np.delete(b.scores, partner[paired])])
    end = max([threshold] + [float(each.scores.min()) for each in (a, b) if len(each.scores) >= limit])
    clear = lonely[lonely > end + limits.confidence / 10]
    mine, other = a.rows(np.flatnonzero(paired)), b.rows(partner[paired])
    wide = (_shortest(mine.boxes) >= 1.0) & (_shortest(other.boxes) >= 1.0)
    overlaps = iou(mine.boxes, other.boxes)[wide]
    sides = np.abs(mine.boxes - other.boxes)
    return Match(
        source=len(source),
        artefact=len(artefact),
        matched=int(paired.sum()),
        edge=len(lonely) - len(clear),
        strict=int((clear > default + limits.confidence).sum()),
        min_iou=float(overlaps.min()) if boxed and len(overlaps) else None,
        max_pixels=float(sides.max()) if boxed and len(sides) else None,
        max_confidence=float(np.abs(mine.scores - other.scores).max(initial=0.0)),
    )


def _partners(a: Table, b: Table, limits: Tolerance) -> npt.NDArray[np.intp]:
    """For each row of `a` the nearest free row of `b` that is the same prediction within the limits, or -1."""
    free: Flags = np.ones(len(b.scores), np.bool_)
    partner = np.full(len(a.scores), -1, np.intp)
    for row in range(len(a.scores)):
        confidence = np.abs(b.scores - a.scores[row])
        can = free & (b.classes == a.classes[row]) & (confidence <= limits.confidence)
        if not can.any():
            continue
        sides = np.abs(b.boxes - a.boxes[row]).max(axis=1)
        can &= (sides <= limits.pixels) | (iou(a.boxes[row][None], b.boxes) >= limits.iou)
        if can.any():
            best = int(np.where(can, sides + confidence, np.inf).argmin())
            partner[row], free[best] = best, False
    return partner


def _shortest(boxes: Floats) -> Floats:
    return np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union, row by row; 0 for empty boxes."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - shared
    overlap: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap
