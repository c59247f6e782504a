"""Many values made one, and running sums."""

from collections.abc import Callable
from typing import Any

import torch

from export_worker.runtimes.coreml.arguments import Arguments, Operator


def _over(function: Callable[[Any, list[int], bool], Any]) -> Operator:
    """A reduction over `axes`, which are all of them where the program names none."""

    def reduce(a: Arguments) -> Any:
        x = a.tensor("x")
        axes = sorted({axis % x.dim() for axis in a.ints("axes", list(range(x.dim())))})
        return function(x, axes, a.flag("keep_dims"))

    return reduce


def _product(x: Any, axes: list[int], keep: bool) -> Any:
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep)
    return x


def _place(largest: bool) -> Operator:
    def find(a: Arguments) -> Any:
        x = a.tensor("x") if largest else -a.tensor("x")
        return x.argmax(a.integer("axis", -1), keepdim=a.flag("keep_dims")).int()

    return find


def _cumsum(a: Arguments) -> Any:
    x, axis = a.tensor("x"), a.integer("axis")
    x = x.flip(axis) if a.flag("reverse") else x
    made = x.cumsum(axis).to(x.dtype)
    made = made - x if a.flag("exclusive") else made
    return made.flip(axis) if a.flag("reverse") else made


def _band_part(a: Arguments) -> Any:
    x, lower, upper = a.tensor("x"), a.integer("lower", -1), a.integer("upper", -1)
    rows, columns = torch.arange(x.shape[-2]).unsqueeze(1), torch.arange(x.shape[-1])
    kept = torch.ones(x.shape[-2:], dtype=torch.bool)
    kept &= (rows - columns <= lower) if lower >= 0 else kept
    kept &= (columns - rows <= upper) if upper >= 0 else kept
    return torch.where(kept, x, torch.zeros_like(x))


OPERATORS: dict[str, Operator] = {
    "band_part": _band_part,
    "cumsum": _cumsum,
    "reduce_argmax": _place(True),
    "reduce_argmin": _place(False),
    "reduce_l1_norm": _over(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "reduce_l2_norm": _over(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "reduce_log_sum": _over(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "reduce_log_sum_exp": _over(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "reduce_max": _over(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_mean": _over(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "reduce_min": _over(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "reduce_prod": _over(_product),
    "reduce_sum": _over(lambda x, axes, keep: x.sum(axes, keepdim=keep).to(x.dtype)),
    "reduce_sum_square": _over(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).to(x.dtype)),
}
