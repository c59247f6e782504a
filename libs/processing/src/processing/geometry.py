"""How a picture of any size lies in the model's input: resize, then cut or pad, and the way back for boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import ImageError
from processing.kernels import Picture, Size, resize

MAX_RESIZED_PIXELS = 1 << 25
"""Of the resized picture before the cut: a strip one pixel high would otherwise become gigabytes."""
CROP_FILL = 0
"""What torchvision's CenterCrop pads with where the picture is smaller than the cut."""


@dataclass(frozen=True)
class Resize:
    """`preprocessing.resize` of metadata.json; sizes are (height, width) in pixels."""

    method: str
    size: Size
    kernel: str
    resize_to: Size | None = None
    fill_value: int = 114
    scale_up: bool = True
    center: bool = True
    crop_offset: str = "round"


@dataclass(frozen=True)
class Geometry:
    """Per axis (y, x): `input = source * gain + offset`; `source` is the picture's (height, width)."""

    source: Size
    gain: tuple[float, float]
    offset: tuple[int, int]

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes float32 [N, 4] x1 y1 x2 y2 from input pixels to source pixels, clamped to the picture."""
        (height, width), (gain_y, gain_x), (top, left) = self.source, self.gain, self.offset
        offset = np.array([left, top, left, top], np.float32)
        gain = np.array([gain_x, gain_y, gain_x, gain_y], np.float32)
        limit = np.array([width, height, width, height], np.float32)
        return np.clip((boxes - offset) / gain, np.float32(0), limit)

    def points_to_source(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keypoints float32 [N, K, 3] x y confidence from input pixels to source pixels, clamped to the picture."""
        (height, width), (gain_y, gain_x), (top, left) = self.source, self.gain, self.offset
        places = (points[..., :2] - np.array([left, top], np.float32)) / np.array([gain_x, gain_y], np.float32)
        inside = np.clip(places, np.float32(0), np.array([width, height], np.float32))
        return np.concatenate([inside, points[..., 2:]], axis=-1)

    def rotated_to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rotated boxes float32 [N, 5] cx cy w h angle from input pixels to source pixels; not clamped, as they could not keep their shape."""
        (gain_y, gain_x), (top, left) = self.gain, self.offset
        offset = np.array([left, top, 0, 0, 0], np.float32)
        gain = np.array([gain_x, gain_y, gain_x, gain_y, 1], np.float32)
        return (boxes - offset) / gain


class Placement(NamedTuple):
    """The resized picture's size, and where its top left corner lies in the input; negative cuts."""

    resized: Size
    top: int
    left: int
    fill: int


def letterbox(spec: Resize, source: Size) -> Placement:
    """Keep the aspect ratio, pad the rest; the rounding is that of Ultralytics."""
    ratio = min(spec.size[0] / source[0], spec.size[1] / source[1])
    if not spec.scale_up:
        ratio = min(ratio, 1.0)
    height, width = (max(round(side * ratio), 1) for side in source)
    top, left = (round((spec.size[0] - height) / 2 - 0.1), round((spec.size[1] - width) / 2 - 0.1))
    return Placement((height, width), *((top, left) if spec.center else (0, 0)), spec.fill_value)


def stretch(spec: Resize, source: Size) -> Placement:
    """Both sides to the input size."""
    return Placement(spec.size, 0, 0, CROP_FILL)


def short_side_crop(spec: Resize, source: Size) -> Placement:
    """Short side to `resize_to`, the long side truncated, then the centre; as torchvision's Resize(int) and CenterCrop."""
    target = (spec.resize_to or spec.size)[0]
    height, width = source
    wide = target, int(target * width / height)
    tall = int(target * height / width), target
    return _centre_cut(spec, wide if height <= width else tall)


def stretch_crop(spec: Resize, source: Size) -> Placement:
    """Both sides to `resize_to`, then the centre."""
    return _centre_cut(spec, spec.resize_to or spec.size)


def _centre_cut(spec: Resize, resized: Size) -> Placement:
    rounded = CROP_OFFSETS[spec.crop_offset]
    top, left = (
        (want - have) // 2 if want > have else -rounded((have - want) / 2.0)
        for want, have in ((spec.size[0], resized[0]), (spec.size[1], resized[1]))
    )
    return Placement(resized, top, left, CROP_FILL)


CROP_OFFSETS: dict[str, Callable[[float], int]] = {"round": round, "truncate": int}
"""torchvision rounds half a pixel to even, Hugging Face cuts it off."""

METHODS: dict[str, Callable[[Resize, Size], Placement]] = {
    "letterbox": letterbox,
    "stretch": stretch,
    "short_side_crop": short_side_crop,
    "stretch_crop": stretch_crop,
}


def locate(source: Size, spec: Resize) -> tuple[Placement, Geometry]:
    """Where a picture of `source` (height, width) lies in the input, and the way back.

    Raises ImageError("image_too_large") for a picture so long and thin that its resized form would be giant.
    """
    placement = METHODS[spec.method](spec, source)
    if placement.resized[0] * placement.resized[1] > MAX_RESIZED_PIXELS:
        raise ImageError("image_too_large", f"the picture of {source[1]} x {source[0]} pixels is too long and thin")
    gain = placement.resized[0] / source[0], placement.resized[1] / source[1]
    return placement, Geometry(source, gain, (placement.top, placement.left))


def fit(image: Picture, spec: Resize, *, reference: bool = False) -> tuple[Picture, Geometry]:
    """The picture uint8 [H, W, C] at the model's input size, uint8 [h, w, C], and its geometry; raises as `locate` does."""
    placement, geometry = locate((image.shape[0], image.shape[1]), spec)
    resized = resize(image, placement.resized, spec.kernel, reference=reference)
    return _place(resized, spec.size, placement), geometry


def _place(image: Picture, size: Size, placement: Placement) -> Picture:
    (height, width), (top, left) = image.shape[:2], placement[1:3]
    if (top, left) == (0, 0) and (height, width) == tuple(size):
        return image
    cut = image[max(-top, 0) : size[0] - top, max(-left, 0) : size[1] - left]
    if cut.shape[:2] == tuple(size):
        return cut
    canvas = np.full((*size, image.shape[2]), placement.fill, np.uint8)
    top, left = max(top, 0), max(left, 0)
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return canvas
