"""Bilinear resampling of float32 planes with half-pixel centres, as torch's `interpolate(align_corners=False)` does it.

Written by hand and separable, so that any part of the answer can be computed alone: masks of large pictures are made in
pieces and only where they are needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Taps(NamedTuple):
    """Of each output index: both neighbours in the input, and how much the second weighs (float32, 0 to 1)."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: Floats

    def part(self, start: int, stop: int) -> Taps:
        """Those of the outputs from `start` to before `stop`."""
        return Taps(self.first[start:stop], self.second[start:stop], self.weight[start:stop])

    def span(self) -> tuple[int, int]:
        """First and one past the last input index that is needed."""
        return int(self.first[0]), int(self.second[-1]) + 1

    def moved(self, by: int) -> Taps:
        """The same where the input lacks its first `by` values."""
        return Taps(self.first - by, self.second - by, self.weight)


def taps(source: int, target: int) -> Taps:
    """Of one axis: `(i + 0.5) * source / target - 0.5`, never below 0, in float32."""
    scale = np.float32(source) / np.float32(target)
    position = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    np.maximum(position, np.float32(0), out=position)
    first = np.minimum(position.astype(np.intp), source - 1)
    weight = np.minimum(position - first.astype(np.float32), np.float32(1))
    return Taps(first, np.minimum(first + 1, source - 1), weight)


def across(planes: Floats, columns: Taps) -> Floats:
    """The last axis resampled."""
    mixed: Floats = planes[..., columns.first] * (np.float32(1) - columns.weight)
    mixed += planes[..., columns.second] * columns.weight
    return mixed


def down(planes: Floats, rows: Taps) -> Floats:
    """The last axis but one resampled."""
    weight = rows.weight[:, None]
    mixed: Floats = planes[..., rows.first, :] * (np.float32(1) - weight)
    mixed += planes[..., rows.second, :] * weight
    return mixed


def resample(planes: Floats, rows: Taps, columns: Taps) -> Floats:
    """Both, horizontally first, over no more of the input than the taps need."""
    top, bottom = rows.span()
    return down(across(planes[..., top:bottom, :], columns), rows.moved(top))
