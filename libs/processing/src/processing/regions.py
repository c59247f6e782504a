"""Semantic segmentation: logits resampled to the picture's size, the best class of each pixel, one prediction a class.

The resampling is that of transformers' `post_process_semantic_segmentation(target_sizes=…)`, done in tiles, so that memory
is that of the picture and not that of the picture times the number of classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing import masks
from processing.bilinear import resample, taps
from processing.errors import AnswerError
from processing.kernels import Size
from processing.masks import Mask

MAX_LOGITS = 1 << 31
"""Classes times pixels of one picture."""
_TILE = 1 << 20

Floats = NDArray[np.float32]


class Region(NamedTuple):
    """All pixels of one class; `bbox` encloses them, its last edges being one past the last pixel."""

    class_id: int
    confidence: float
    bbox: tuple[float, float, float, float]
    mask: Mask


def regions(logits: Floats, source: Size) -> list[Region]:
    """The classes of a picture of `source` (height, width), largest area first; `logits` is float32 [C, h, w].

    `confidence` is the mean, over the pixels of a class, of its softmax probability. Raises AnswerError where classes times
    pixels are too many, or the classes are so scattered that the masks would be.
    """
    if logits.shape[0] * source[0] * source[1] > MAX_LOGITS:
        raise AnswerError(f"{logits.shape[0]} classes of a picture of {source[1]} x {source[0]} pixels are too many")
    labels, totals = _labels(logits, source)
    areas = np.bincount(labels.ravel(), minlength=len(totals))
    found = [Region(label, float(totals[label] / areas[label]), box, mask) for label, box, mask in _runs(labels)]
    return sorted(found, key=lambda region: (-int(areas[region.class_id]), region.class_id))


def _labels(logits: Floats, source: Size) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """The best class of each pixel, [height, width], and for each class the sum of its probabilities where it is best."""
    classes = len(logits)
    rows, columns = taps(logits.shape[1], source[0]), taps(logits.shape[2], source[1])
    wide = max(min(_TILE // classes, source[1]), 1)
    high = max(_TILE // (classes * wide), 1)
    labels, totals = np.empty(source, np.uint16), np.zeros(classes, np.float64)
    for left in range(0, source[1], wide):
        for top in range(0, source[0], high):
            tile = resample(logits, rows.part(top, top + high), columns.part(left, left + wide))
            best = tile.argmax(axis=0)
            tile -= tile.max(axis=0)
            likely = 1 / np.exp(tile, out=tile).sum(axis=0)
            labels[top : top + high, left : left + wide] = best
            totals += np.bincount(best.ravel(), likely.ravel(), classes)
    return labels, totals


def _runs(labels: NDArray[np.uint16]) -> list[tuple[int, tuple[float, float, float, float], Mask]]:
    """Of each class that is there: its number, the box around it, and its mask."""
    size = labels.shape[0], labels.shape[1]
    begins = np.ones(labels.shape, np.bool_)
    np.not_equal(labels[1:], labels[:-1], out=begins[1:])
    masks.check_runs(2 * int(np.count_nonzero(begins)))
    rows, columns = np.nonzero(begins)
    down = np.lexsort((rows, columns))
    values = labels[rows[down], columns[down]]
    starts = columns[down] * size[0] + rows[down]
    ends = np.append(starts[1:], labels.size)
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    made = []
    for chosen in np.split(order, cuts):
        first, last = starts[chosen], ends[chosen]
        column, row = np.divmod(first, size[0])
        box = (column.min(), row.min(), column.max() + 1, (last - column * size[0]).max())
        left, top, right, bottom = (float(edge) for edge in box)
        made.append((int(values[chosen[0]]), (left, top, right, bottom), masks.from_runs(first, last, size)))
    return made
