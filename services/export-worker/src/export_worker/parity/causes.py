"""Why a layer of an artefact may answer otherwise than its source: hypotheses that are tried on the layer's own values, likeliest first."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.modules.batchnorm import _NormBase

from contracts.vocabulary import Precision

Floats = npt.NDArray[np.float64]
HALF_MAX = 65504.0
"""The largest float16."""
EPSILONS = (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1e-2, 1e-1)
RESIZES: tuple[dict[str, object], ...] = (
    {"mode": "nearest"},
    {"mode": "nearest-exact"},
    {"mode": "bilinear", "align_corners": False},
    {"mode": "bilinear", "align_corners": True},
    {"mode": "bicubic", "align_corners": False},
    {"mode": "bicubic", "align_corners": True},
)
FEW = 0.25
"""Of the channels: a fault that touches fewer sits in their weights."""


class Evidence(NamedTuple):
    """One layer: its torch module with what it was given, and both answers."""

    module: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    expected: Floats
    measured: Floats
    precision: Precision
    allowed: float


class Cause(NamedTuple):
    """A word for programs, and a sentence for people."""

    name: str
    sentence: str


def probable(evidence: Evidence) -> Cause:
    """The first hypothesis that the values bear out."""
    for hypothesis in HYPOTHESES:
        if (cause := hypothesis(evidence)) is not None:
            return cause
    return Cause("weights", "The layer's weights or its arithmetic differ from the source's.")


def _overflow(one: Evidence) -> Cause | None:
    if np.isfinite(one.measured).all() or not np.isfinite(one.expected).all():
        return None
    largest = float(np.abs(one.expected).max(initial=0.0))
    if one.precision is not Precision.FP32 or largest > HALF_MAX:
        return Cause(
            "float16_overflow",
            f"The source's values reach {largest:.3g} here, float16 ends at 65504: the artefact has infinities. Keep float32.",
        )
    return Cause("not_finite", "The artefact answers NaN or infinity where the source does not.")


def _layout(one: Evidence) -> Cause | None:
    if one.expected.ndim != 4 or one.expected.shape[-1] != one.expected.shape[-2]:
        return None
    if _close(one, one.expected.swapaxes(-1, -2)):
        return Cause("layout", "The artefact's values are the source's with height and width exchanged.")
    return None


def _resize(one: Evidence) -> Cause | None:
    if not isinstance(one.module, torch.nn.Upsample) or not one.inputs:
        return None
    for options in RESIZES:
        made = torch.nn.functional.interpolate(one.inputs[0].float(), size=one.expected.shape[2:], **options)
        if _close(one, made.double().numpy()):
            told = ", ".join(f"{key}={value}" for key, value in options.items())
            return Cause("resize_mode", f"The artefact resizes by {told}, the source by mode={one.module.mode}.")
    return None


def _epsilon(one: Evidence) -> Cause | None:
    epsilon = getattr(one.module, "eps", None)
    if not isinstance(epsilon, float) or not one.inputs:
        return None
    for other in EPSILONS:
        if other == epsilon:
            continue
        one.module.eps = other
        try:
            with torch.inference_mode():
                made = one.module(one.inputs[0]).double().numpy()
        finally:
            one.module.eps = epsilon
        if _close(one, made):
            return Cause(
                "epsilon", f"The artefact normalises with an epsilon of {other:g}, the source with {epsilon:g}."
            )
    return None


def _folded_norm(one: Evidence) -> Cause | None:
    """Another scale and shift per channel, and nothing else."""
    if not isinstance(one.module, _NormBase) or one.expected.ndim != 4:
        return None
    channels = one.expected.shape[1]
    a, b = (values.swapaxes(0, 1).reshape(channels, -1) for values in (one.expected, one.measured))
    for x, y in zip(a, b, strict=True):
        scale = np.polynomial.polynomial.polyfit(x, y, 1) if np.ptp(x) > 0 else (y.mean(), 0.0)
        if np.abs(scale[0] + scale[1] * x - y).max() > one.allowed:
            return None
    return Cause(
        "folded_batch_norm",
        "Each channel differs by a scale and a shift alone: the batch normalisation was folded with other statistics or epsilon.",
    )


def _channels(one: Evidence) -> Cause | None:
    """A few output channels alone."""
    axis = 1 if one.expected.ndim == 4 else one.expected.ndim - 1
    if one.expected.ndim < 2 or one.expected.shape[axis] < 4:
        return None
    others = tuple(number for number in range(one.expected.ndim) if number != axis)
    over = np.flatnonzero(np.abs(one.expected - one.measured).max(axis=others) > one.allowed)
    count = one.expected.shape[axis]
    if not 0 < len(over) <= FEW * count:
        return None
    told = ", ".join(map(str, over[:4])) + ("…" if len(over) > 4 else "")
    return Cause(
        "weights", f"Only {len(over)} of {count} channels differ ({told}): their weights are not the source's."
    )


def _precision(one: Evidence) -> Cause | None:
    if one.precision is Precision.FP32:
        return None
    return Cause(
        "precision",
        f"{one.precision} is too coarse for this layer. Export with a higher precision, or keep this layer out of it.",
    )


def _close(one: Evidence, values: Floats) -> bool:
    return values.shape == one.measured.shape and bool(np.abs(values - one.measured).max(initial=0.0) <= one.allowed)


HYPOTHESES: tuple[Callable[[Evidence], Cause | None], ...] = (
    _overflow,
    _layout,
    _resize,
    _epsilon,
    _folded_norm,
    _channels,
    _precision,
)
