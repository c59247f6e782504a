"""Resampling of pictures: where each output pixel looks, and how it mixes what it finds there."""

from typing import Any

import torch
from torch.nn import functional

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking


def places(size: int, out: int, mode: str) -> Any:
    """Coordinates in an axis of `size` pixels at which `out` pixels are taken, by MIL's sampling modes (see resize_bilinear)."""
    steps = torch.arange(out, dtype=torch.float64)
    if mode == "UNALIGN_CORNERS":
        found = (steps + 0.5) * (size / out) - 0.5
    elif mode in {"STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"}:
        found = steps * ((size - 1) / max(out - 1, 1))
        if mode == "ALIGN_CORNERS" and out == 1:
            found = torch.tensor([(size - 1) / 2], dtype=torch.float64)
    elif mode == "DEFAULT":
        found = steps * (size / out)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / out
        found = 0.5 * delta + steps * delta
    else:
        raise lacking("resize_bilinear", f"of sampling mode {mode}")
    return found.clamp(0, size - 1)


def _linear(x: Any, axis: int, out: int, mode: str) -> Any:
    at = places(x.shape[axis], out, mode)
    low = at.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = (at - low).to(x.dtype).reshape(-1, *[1] * (-1 - axis))
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share


def _bilinear(x: Any, height: int, width: int, mode: str) -> Any:
    return _linear(_linear(x, -2, height, mode), -1, width, mode)


def _nearest(x: Any, height: int, width: int) -> Any:
    for axis, out in ((-2, height), (-1, width)):
        at = torch.arange(out) * x.shape[axis] // out
        x = x.index_select(axis, at)
    return x


def _scaled(a: Arguments) -> tuple[Any, int, int]:
    x = a.tensor("x")
    # the factor is a float32 just below or above what was meant: 12 * 1.6666666 is 20
    sides = [
        int(size * a.number(name, 1.0) + 1e-4)
        for size, name in ((x.shape[-2], "scale_factor_height"), (x.shape[-1], "scale_factor_width"))
    ]
    return x, sides[0], sides[1]


def _upsample_bilinear(a: Arguments) -> Any:
    mode = "STRICT_ALIGN_CORNERS" if a.flag("align_corners", default=True) else "UNALIGN_CORNERS"
    return _bilinear(*_scaled(a), mode)


def _target(a: Arguments) -> tuple[Any, int, int]:
    return a.tensor("x"), a.integer("target_size_height", 1), a.integer("target_size_width", 1)


def _resize(a: Arguments) -> Any:
    x, count = a.tensor("x"), a.integer("resized_dims")
    if a.text("interpolation_mode", "LINEAR") != "LINEAR":
        raise lacking("resize", "to the nearest neighbour")
    for axis, size in zip(range(-count, 0), a.ints("shape")[-count:], strict=True):
        x = _linear(x, axis, size or x.shape[axis], a.text("sampling_mode", "DEFAULT"))
    return x


BORDERS = {("constant", True): "zeros", ("constant", False): "zeros", ("border", True): "border",
           ("border", False): "border", ("reflection", True): "reflection", ("symmetric", False): "reflection"}  # fmt: skip


def _resample(a: Arguments) -> Any:
    x, at = a.tensor("x"), a.tensor("coordinates").float()
    corners = a.flag("align_corners")
    kind = (a.text("padding_mode", ""), corners)
    if kind not in BORDERS or (kind[0] == "constant" and a.number("padding_value")):
        raise lacking("resample", f"with the border {kind[0]}")
    mode = a.text("coordinates_mode", "")
    if mode == "normalized_zero_to_one":
        at = at * 2 - 1
    elif mode == "unnormalized":
        size = torch.tensor([x.shape[-1], x.shape[-2]], dtype=at.dtype)
        at = at * 2 / (size - 1).clamp(min=1) - 1 if corners else (at * 2 + 1) / size - 1
    elif mode != "normalized_minus_one_to_one":
        raise lacking("resample", f"at coordinates {mode}")
    sampling = a.text("sampling_mode", "bilinear")
    return functional.grid_sample(x, at, mode=sampling, padding_mode=BORDERS[kind], align_corners=corners)


def _crop(a: Arguments) -> Any:
    (top, bottom), (left, right) = a.ints("crop_height"), a.ints("crop_width")
    x = a.tensor("x")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


OPERATORS: dict[str, Operator] = {
    "crop": _crop,
    "resample": _resample,
    "resize": _resize,
    "resize_bilinear": lambda a: _bilinear(*_target(a), a.text("sampling_mode", "DEFAULT")),
    "resize_nearest_neighbor": lambda a: _nearest(*_target(a)),
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": lambda a: _nearest(*_scaled(a)),
}
