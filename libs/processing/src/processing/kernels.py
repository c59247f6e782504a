"""Resampling, exact to the bit: a numpy reference of each kernel, and cv2 or Pillow doing the same work faster.

The reference is the executable specification that the wrappers of other languages are ported from. cv2 and Pillow are
optional and imported here alone; where the one that a kernel is named after is missing, the reference runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processing.errors import MetadataError


def _optional(name: str) -> Any:
    """A module, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


cv2 = _optional("cv2")
pillow = _optional("PIL.Image")

Picture = NDArray[np.uint8]
Size = tuple[int, int]

CV2_LINEAR_U8 = "cv2_linear_u8"
PIL_NEAREST = "pil_nearest"
_PIL_BITS = 22


def resize(image: Picture, size: Size, kernel: str, *, reference: bool = False) -> Picture:
    """Resample to `size`.

    `image` is uint8 [H, W, C], `size` is (height, width), the answer uint8 [height, width, C], perhaps `image` itself
    where nothing changes. `reference` forces numpy. Raises MetadataError for an unknown kernel.
    """
    if kernel not in REFERENCE:
        raise MetadataError("preprocessing.resize.kernel", f"{kernel!r} is unknown; known: {', '.join(REFERENCE)}")
    if image.shape[:2] == tuple(size):
        return image
    if reference or not accelerated(kernel):
        return REFERENCE[kernel](image, size)
    if kernel == CV2_LINEAR_U8:
        resized: Picture = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return resized
    return _pillow_resize(image, size, kernel)


def one_thread_a_picture() -> None:
    """For processes that work on several pictures at once: cv2's own threads would wait for each other in loops, burning their cores."""
    if cv2 is not None:
        cv2.setNumThreads(1)


def accelerated(kernel: str) -> bool:
    """Whether the library that a kernel is named after is installed."""
    return (cv2 if kernel == CV2_LINEAR_U8 else pillow) is not None


def _pillow_resize(image: Picture, size: Size, kernel: str) -> Picture:
    filters: dict[str, Any] = {
        PIL_NEAREST: pillow.Resampling.NEAREST,
        "pil_bilinear": pillow.Resampling.BILINEAR,
        "pil_bicubic": pillow.Resampling.BICUBIC,
        "pil_lanczos": pillow.Resampling.LANCZOS,
    }
    source = pillow.fromarray(np.ascontiguousarray(image))
    return np.asarray(source.resize((size[1], size[0]), filters[kernel]))


def lookup(image: Picture, table: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write `table[c][image[:, :, c]]` to `out[c]` for each channel; `table` is [C, 256], `out` float32 [C, H, W]."""
    if cv2 is None:
        for channel, values in enumerate(table):
            np.take(values, image[:, :, channel], out=out[channel], mode="clip")
        return
    for channel, plane in enumerate(cv2.split(image)):
        cv2.LUT(plane, table[channel], dst=out[channel])


def cv2_linear_u8(image: Picture, size: Size) -> Picture:
    """OpenCV's INTER_LINEAR on uint8: 11-bit weights, two roundings, and a 2x2 mean at exactly half the size."""
    height, width = image.shape[:2]
    if (height, width) == (2 * size[0], 2 * size[1]):
        p = image.astype(np.int32)
        total = p[0::2, 0::2] + p[0::2, 1::2] + p[1::2, 0::2] + p[1::2, 1::2]
        return ((total + 2) >> 2).astype(np.uint8)
    left, right, a0, a1 = _cv2_taps(width, size[1], clamp_fraction=True)
    upper, lower, b0, b1 = _cv2_taps(height, size[0], clamp_fraction=False)
    p = image.astype(np.int32)
    rows = (p[:, left] * a0[:, None] + p[:, right] * a1[:, None]) >> 4
    mixed = ((b0[:, None, None] * rows[upper]) >> 16) + ((b1[:, None, None] * rows[lower]) >> 16)
    return np.clip((mixed + 2) >> 2, 0, 255).astype(np.uint8)


def _cv2_taps(source: int, target: int, *, clamp_fraction: bool) -> tuple[NDArray[np.int64], ...]:
    """Both neighbours of each output index and their weights in 1/2048; the vertical axis keeps its fraction at borders."""
    scale = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if clamp_fraction:
        fraction[(first < 0) | (first >= source - 1)] = 0
        first = np.clip(first, 0, source - 1)
    one, unit = np.float32(1), np.float32(2048)
    weights = np.rint((one - fraction) * unit).astype(np.int32), np.rint(fraction * unit).astype(np.int32)
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), *weights


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a, x = -0.5, np.abs(x)
    inner = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3), 0.0)


_FILTERS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "pil_bilinear": (_triangle, 1.0),
    "pil_bicubic": (_cubic, 2.0),
    "pil_lanczos": (_lanczos, 3.0),
}


def pil_convolution(image: Picture, size: Size, kernel: str) -> Picture:
    """Pillow's antialiased resampling: two passes, uint8 in between, 22-bit integer weights.

    Horizontal first, as ever; since Pillow 13 vertical first where the height shrinks by more than twice what the width
    does (measured: no case differs).
    """
    (height, width), axes = image.shape[:2], [1, 0]
    if height > size[0] and height - size[0] > 2 * (width - size[1]):
        axes.reverse()
    for axis in axes:
        if image.shape[axis] != size[axis]:
            image = _pil_pass(image.swapaxes(0, axis), size[axis], kernel).swapaxes(0, axis)
    return np.ascontiguousarray(image)


def _pil_pass(image: Picture, target: int, kernel: str) -> Picture:
    """Resample the first axis; one vectorised step per filter tap."""
    indices, weights = _pil_taps(image.shape[0], target, kernel)
    total = np.full((target, *image.shape[1:]), 1 << (_PIL_BITS - 1), np.int32)
    for tap in range(indices.shape[1]):
        total += image[indices[:, tap]].astype(np.int32) * weights[:, tap, None, None]
    return np.clip(total >> _PIL_BITS, 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _pil_taps(source: int, target: int, kernel: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Input indices and integer weights, both [target, taps]; taps outside a window weigh nothing."""
    function, radius = _FILTERS[kernel]
    scale = source / target
    filter_scale = max(scale, 1.0)
    support = radius * filter_scale
    centre = (np.arange(target) + 0.5) * scale
    start = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), source)
    taps = np.arange(int((end - start).max()))
    inside = taps < (end - start)[:, None]
    x = (taps + start[:, None] - centre[:, None] + 0.5) * (1.0 / filter_scale)
    weights = np.where(inside, function(x), 0.0)
    weights = weights / np.cumsum(weights, axis=1)[:, -1:]
    fixed = weights * (1 << _PIL_BITS)
    rounded = np.trunc(np.where(fixed < 0, fixed - 0.5, fixed + 0.5)).astype(np.int32)
    return np.minimum(start[:, None] + taps, source - 1), rounded


def pil_nearest(image: Picture, size: Size) -> Picture:
    """Pillow's nearest neighbour; positions are summed up step by step, as it does."""
    return image[_pil_steps(image.shape[0], size[0])][:, _pil_steps(image.shape[1], size[1])]


def _pil_steps(source: int, target: int) -> NDArray[np.int64]:
    steps = np.full(target, source / target)
    steps[0] *= 0.5
    return np.minimum(np.cumsum(steps).astype(np.int64), source - 1)


REFERENCE: dict[str, Callable[[Picture, Size], Picture]] = {
    CV2_LINEAR_U8: cv2_linear_u8,
    PIL_NEAREST: pil_nearest,
    "pil_bilinear": lambda image, size: pil_convolution(image, size, "pil_bilinear"),
    "pil_bicubic": lambda image, size: pil_convolution(image, size, "pil_bicubic"),
    "pil_lanczos": lambda image, size: pil_convolution(image, size, "pil_lanczos"),
}
