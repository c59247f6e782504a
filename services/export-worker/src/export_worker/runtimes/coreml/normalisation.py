"""Normalisations and pooling."""

from typing import Any

import torch
from torch.nn import functional

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking
from export_worker.runtimes.coreml.linear import padded, paddings

MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _batch_norm(a: Arguments) -> Any:
    return functional.batch_norm(
        a.tensor("x"), a.tensor("mean"), a.tensor("variance"), a.maybe("gamma"), a.maybe("beta"),
        training=False, eps=a.number("epsilon", 1e-5),
    )  # fmt: skip


def _instance_norm(a: Arguments) -> Any:
    eps = a.number("epsilon", 1e-5)
    return functional.instance_norm(a.tensor("x"), weight=a.maybe("gamma"), bias=a.maybe("beta"), eps=eps)


def _layer_norm(a: Arguments) -> Any:
    x = a.tensor("x")
    axes = sorted(axis % x.dim() for axis in a.ints("axes", list(range(x.dim()))))
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    made = (x - mean) / torch.sqrt(variance + a.number("epsilon", 1e-5))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    gamma, beta = a.maybe("gamma"), a.maybe("beta")
    made = made if gamma is None else made * gamma.reshape(shape)
    return made if beta is None else made + beta.reshape(shape)


def _l2_norm(a: Arguments) -> Any:
    x = a.tensor("x")
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + a.number("epsilon", 1e-6))


def _local_response_norm(a: Arguments) -> Any:
    return functional.local_response_norm(
        a.tensor("x"), a.integer("size"), a.number("alpha", 1e-4), a.number("beta", 0.75), a.number("k", 1.0)
    )


def _windows(a: Arguments) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    x, kernel = a.tensor("x"), a.ints("kernel_sizes")
    strides = a.ints("strides", [1] * len(kernel))
    return kernel, strides, paddings(a, list(x.shape[2:]), kernel, strides, [1] * len(kernel))


def _plain(kernel: list[int], pads: list[tuple[int, int]]) -> bool:
    """Whether torch's own pooling takes this padding."""
    return all(before == behind <= span // 2 for span, (before, behind) in zip(kernel, pads, strict=True))


def _max_pool(a: Arguments) -> Any:
    kernel, strides, pads = _windows(a)
    x, ceil = a.tensor("x"), a.flag("ceil_mode")
    pool = MAX[len(kernel)]
    if _plain(kernel, pads):
        return pool(x, kernel, strides, [before for before, _ in pads], ceil_mode=ceil)
    if ceil:
        raise lacking("max_pool", "with ceil_mode and one-sided padding")
    return pool(padded(x, pads, float("-inf")), kernel, strides)


def _avg_pool(a: Arguments) -> Any:
    kernel, strides, pads = _windows(a)
    x, ceil, exclude = a.tensor("x"), a.flag("ceil_mode"), a.flag("exclude_padding_from_average")
    pool = AVERAGE[len(kernel)]
    if _plain(kernel, pads):
        return pool(x, kernel, strides, [before for before, _ in pads], ceil_mode=ceil, count_include_pad=not exclude)
    if ceil:
        raise lacking("avg_pool", "with ceil_mode and one-sided padding")
    made = pool(padded(x, pads), kernel, strides)
    return made / pool(padded(torch.ones_like(x), pads), kernel, strides) if exclude else made


OPERATORS: dict[str, Operator] = {
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "l2_norm": _l2_norm,
    "layer_norm": _layer_norm,
    "local_response_norm": _local_response_norm,
    "max_pool": _max_pool,
}
