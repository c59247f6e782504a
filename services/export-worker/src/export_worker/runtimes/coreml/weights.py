"""Weights that are stored smaller than they are used: quantised, in a palette, or without their zeros."""

import math
from typing import Any

import torch

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking


def _affine(a: Arguments) -> Any:
    """scale * (quantised - zero point), along one axis (iOS 16)."""
    data, axis = a.tensor("quantized_data"), a.integer("axis")
    form = [-1 if number == axis % data.dim() else 1 for number in range(data.dim())]
    scale, zero = (a.tensor(name) for name in ("scale", "zero_point"))
    scale, zero = (value.reshape(form) if value.numel() > 1 else value.reshape(()) for value in (scale, zero))
    return scale * (data.float() - zero.float())


def _spread(value: Any, shape: Any) -> Any:
    """One number per block, repeated over its block."""
    for axis, size in enumerate(shape):
        value = value.repeat_interleave(size // value.shape[axis], dim=axis)
    return value


def _blockwise(a: Arguments) -> Any:
    """scale * (data - offset), each block with a scale of its own (iOS 18)."""
    data, offset = a.tensor("data").float(), a.maybe("offset")
    data = data if offset is None else data - _spread(offset.float(), data.shape)
    return data * _spread(a.tensor("scale"), data.shape)


def _bits(packed: Any, width: int, count: int) -> Any:
    """Numbers of `width` bits from bytes, lowest bits first."""
    single = (packed.reshape(-1, 1) >> torch.arange(8)) & 1
    grouped = single.reshape(-1)[: width * count].reshape(count, width)
    return (grouped << torch.arange(width)).sum(1)


def _palette(a: Arguments) -> Any:
    lut, indices = a.tensor("lut"), a.tensor("indices")
    if a.maybe("shape") is not None:
        shape = a.ints("shape")
        return lut[_bits(indices, int(math.log2(lut.numel())), math.prod(shape))].reshape(shape)
    if lut.shape[-1] != 1:
        raise lacking("constexpr_lut_to_dense", "of vectors")
    blocks = _spread(torch.arange(lut[..., 0, 0].numel()).reshape(lut.shape[:-2]), indices.shape)
    return lut.reshape(-1, lut.shape[-2])[blocks, indices.long()]


def _sparse(a: Arguments) -> Any:
    kept, mask = a.tensor("nonzero_data"), a.tensor("mask")
    shape = a.ints("shape") if a.maybe("shape") is not None else list(mask.shape)
    chosen = _bits(mask, 1, math.prod(shape)) if a.maybe("shape") is not None else mask.reshape(-1)
    made = torch.zeros(math.prod(shape), dtype=kept.dtype)
    made[chosen.bool()] = kept
    return made.reshape(shape)


OPERATORS: dict[str, Operator] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blockwise,
    "constexpr_cast": lambda a: a.tensor("source_val").float(),
    "constexpr_lut_to_dense": _palette,
    "constexpr_sparse_to_dense": _sparse,
}
