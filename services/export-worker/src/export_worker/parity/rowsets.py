"""Outputs whose rows are a set, [K, 6] x1 y1 x2 y2 score class: what rounding alone decides is told apart from what differs.

Two boxes with almost the same score may be suppressed in either order, and the last places of a list go to either of several ties.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from export_worker.parity.tolerances import Tolerance

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
CLOSE = 1e-4
"""Rows are alike if no component differs by more than this fraction of the row's largest."""


class Aligned(NamedTuple):
    """`artefact` in the order of `source`; rows that rounding alone decides hold the source's values. `flipped` counts those that a
    suppression decided otherwise, `rows` all that hold a box."""

    source: Floats
    artefact: Floats
    flipped: int
    rows: int


def align(source: Floats, artefact: Floats, limits: Tolerance, pool: Floats | None = None) -> Aligned:
    """Bring two sets of rows into one order.

    `pool` holds every box [M, 6] that the source had before its suppression: a row that only the artefact has must be one of them.
    """
    order = nearest_rows(source, artefact)
    made = artefact[order].copy()
    different = ~alike(source, made)
    last = min(source[-1, 4], artefact[-1, 4]) + limits.absolute
    tail = different & (source[:, 4] <= last) & (made[:, 4] <= last)
    made[tail] = source[tail]
    flipped = np.zeros(len(source), np.bool_)
    if pool is not None:
        flipped = different & ~tail & _among(made, pool)
        made[flipped] = source[flipped]
    return Aligned(source, made, int(flipped.sum()), int((source[:, 4] > 0).sum()))


def nearest_rows(source: Floats, artefact: Floats) -> npt.NDArray[np.intp]:
    """For each row of `source` a row of `artefact`, each used once: the one that is alike where there is one."""
    order = np.arange(len(source))
    moved = np.flatnonzero(~alike(source, artefact))
    free = list(moved)
    partnerless = []
    for row in moved:
        distances = np.abs(artefact[free] - source[row]).max(axis=1)
        nearest = int(distances.argmin())
        if alike(source[row][None], artefact[free[nearest]][None])[0]:
            order[row] = free.pop(nearest)
        else:
            partnerless.append(row)
    order[partnerless] = free
    return order


def alike(a: Floats, b: Floats) -> Flags:
    """Row by row."""
    near: Flags = np.abs(a - b).max(axis=1) <= CLOSE * np.maximum(1.0, np.abs(a).max(axis=1))
    return near


def candidates(raw: Floats) -> Floats:
    """yolo_v8 [4 + C, A] as rows [M, 6]: each anchor's box with its best class, and with every other whose score ties with it.

    Anchors without any score are left out: no suppression keeps them.
    """
    half, each = raw[2:4] / 2, raw[4:]
    best = each.max(axis=0)
    classes, anchors = np.nonzero((each >= best - CLOSE) & (best > CLOSE))
    corners = np.concatenate([raw[:2] - half, raw[:2] + half])[:, anchors]
    rows: Floats = np.concatenate([corners, each[None, classes, anchors], classes[None]]).T
    return rows


def _among(rows: Floats, pool: Floats) -> Flags:
    """Whether each row is empty or one of the pool."""
    return np.array([not row.any() or bool(alike(np.broadcast_to(row, pool.shape), pool).any()) for row in rows])
