"""Masks of objects: coefficients times prototypes, cut out of the letterbox, at the picture's own size, inside the box.

Equal to Ultralytics' `process_mask_native` (`retina_masks=True`) up to the rounding of float32; made one at a time and
only over the box, so that memory is that of one box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processing import masks
from processing.bilinear import Taps, across, down, resample, taps
from processing.errors import AnswerError
from processing.kernels import Size
from processing.masks import Mask

MAX_PIXELS = 1 << 31
"""Of the boxes of one picture together."""
_STRIP = 1 << 18
_STRIDE = 4
"""Input pixels to one of a prototype, along each axis."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """How the prototypes lie over the picture, per axis (y, x): first enlarged, then cut at `offset`, then resampled."""

    source: Size
    factor: int
    offset: tuple[int, int]
    enlarged: tuple[Taps, Taps]
    resampled: tuple[Taps, Taps]

    @classmethod
    def of(cls, prototypes: Size, source: Size) -> Grid:
        """`prototypes` is (h, w); the letterbox is the centred one, a quarter of the input along each side."""
        padding = [
            _STRIDE * have - side for have, side in zip(prototypes, _content(prototypes, source, _STRIDE), strict=True)
        ]
        bits = padding[0] | padding[1]
        factor = _STRIDE // math.gcd(_STRIDE, bits | bits // 2)
        content = _content(prototypes, source, factor)
        top, left = (round((factor * have - side) / 2 - 0.1) for have, side in zip(prototypes, content, strict=True))
        return cls(
            source=source,
            factor=factor,
            offset=(top, left),
            enlarged=(taps(prototypes[0], factor * prototypes[0]), taps(prototypes[1], factor * prototypes[1])),
            resampled=(taps(content[0], source[0]), taps(content[1], source[1])),
        )


def _content(prototypes: Size, source: Size, factor: int) -> Size:
    """Size of the picture inside the prototypes enlarged by `factor`, (height, width)."""
    gain = min(factor * prototypes[0] / source[0], factor * prototypes[1] / source[1])
    return max(round(source[0] * gain), 1), max(round(source[1] * gain), 1)


def instance_masks(coefficients: Floats, prototypes: Floats, boxes: Floats, source: Size) -> list[Mask | None]:
    """One mask for each row of `coefficients` [N, M] and `boxes` [N, 4] (source pixels), None where it is empty.

    `prototypes` is float32 [M, h, w]. Raises AnswerError where all masks together are too large.
    """
    regions = [_region(box, source) for box in boxes]
    if sum(max(bottom - top, 0) * max(right - left, 0) for top, left, bottom, right in regions) > MAX_PIXELS:
        raise AnswerError(
            f"the masks of this picture cover more than {MAX_PIXELS} pixels; a lower max_detections helps"
        )
    grid = Grid.of((prototypes.shape[1], prototypes.shape[2]), source)
    made: list[Mask | None] = []
    runs = 0
    for row, region in zip(coefficients, regions, strict=True):
        mask = _mask(row, prototypes, region, grid)
        runs += len(mask.counts) if mask else 0
        masks.check_runs(runs)
        made.append(mask)
    return made


def _region(box: Floats, source: Size) -> tuple[int, int, int, int]:
    """Pixels whose index is at least the box's first edge and below its last: top, left, bottom, right."""
    if not np.isfinite(box).all():
        return 0, 0, 0, 0
    left, top, right, bottom = (math.ceil(edge) for edge in box.tolist())
    return max(top, 0), max(left, 0), min(bottom, source[0]), min(right, source[1])


def _mask(coefficients: Floats, prototypes: Floats, region: tuple[int, int, int, int], grid: Grid) -> Mask | None:
    top, left, bottom, right = region
    if bottom <= top or right <= left:
        return None
    rows, columns = grid.resampled[0].part(top, bottom), grid.resampled[1].part(left, right)
    (first_row, last_row), (first_column, last_column) = rows.span(), columns.span()
    enlarged = _enlarged(
        coefficients,
        prototypes,
        grid.enlarged[0].part(grid.offset[0] + first_row, grid.offset[0] + last_row),
        grid.enlarged[1].part(grid.offset[1] + first_column, grid.offset[1] + last_column),
    )
    wide = across(enlarged, columns.moved(first_column))
    rows = rows.moved(first_row)
    inside = np.empty((bottom - top, right - left), np.bool_)
    step = max(_STRIP // (right - left), 1)
    for start in range(0, bottom - top, step):
        inside[start : start + step] = down(wide, rows.part(start, start + step)) > 0
    return masks.encode(inside, top, left, grid.source) if inside.any() else None


def _enlarged(coefficients: Floats, prototypes: Floats, rows: Taps, columns: Taps) -> Floats:
    """The mask's logits over a part of the enlarged prototypes."""
    (top, bottom), (left, right) = rows.span(), columns.span()
    part = prototypes[:, top:bottom, left:right]
    logits = (coefficients @ part.reshape(len(part), -1)).reshape(part.shape[1:])
    return resample(logits, rows.moved(top), columns.moved(left))
