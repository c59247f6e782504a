"""Convolutions and matrix products."""

import math
from typing import Any

import torch
from torch.nn import functional

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def paddings(
    a: Arguments, sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """How much is put before and behind each spatial dimension, for all of MIL's kinds of padding."""
    kind = a.text("pad_type", "valid")
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        pad = a.ints("pad", [0] * (2 * len(sizes)))
        return list(zip(pad[0::2], pad[1::2], strict=True))
    if kind not in {"same", "same_lower"}:
        raise lacking(a.operator, f"of padding {kind}")
    made = []
    for size, span, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (span - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        made.append((less, more) if kind == "same" else (more, less))
    return made


def padded(x: Any, pads: list[tuple[int, int]], value: float = 0.0) -> Any:
    """`x` with its last dimensions enlarged; what is negative is cut off."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def _conv(a: Arguments) -> Any:
    x, weight = a.tensor("x"), a.tensor("weight")
    count = x.dim() - 2
    strides, dilations = a.ints("strides", [1] * count), a.ints("dilations", [1] * count)
    pads = paddings(a, list(x.shape[2:]), list(weight.shape[2:]), strides, dilations)
    return CONVOLUTIONS[count](padded(x, pads), weight, a.maybe("bias"), strides, 0, dilations, a.integer("groups", 1))


def _conv_transpose(a: Arguments) -> Any:
    x, weight = a.tensor("x"), a.tensor("weight")
    count = x.dim() - 2
    strides, dilations = a.ints("strides", [1] * count), a.ints("dilations", [1] * count)
    whole = TRANSPOSED[count](x, weight, None, strides, 0, 0, a.integer("groups", 1), dilations)
    kind = a.text("pad_type", "valid")
    if kind not in {"valid", "custom", "same"}:
        raise lacking("conv_transpose", f"of padding {kind}")
    pad = a.ints("pad", [0] * (2 * count)) if kind == "custom" else [0] * (2 * count)
    wanted = a.ints("output_shape")[-count:]
    cuts = []
    for i, size in enumerate(whole.shape[2:]):
        out = (
            wanted[i]
            if wanted
            else x.shape[2 + i] * strides[i]
            if kind == "same"
            else size - sum(pad[2 * i : 2 * i + 2])
        )
        before = (size - out) // 2 if kind == "same" else pad[2 * i]
        cuts.append((-before, out + before - size))
    made = padded(whole, cuts)
    bias = a.maybe("bias")
    return made if bias is None else made + bias.reshape(1, -1, *[1] * count)


def _linear(a: Arguments) -> Any:
    return functional.linear(a.tensor("x"), a.tensor("weight"), a.maybe("bias"))


def _matmul(a: Arguments) -> Any:
    x, y = a.tensor("x"), a.tensor("y")
    return torch.matmul(x.mT if a.flag("transpose_x") else x, y.mT if a.flag("transpose_y") else y)


def _attention(a: Arguments) -> Any:
    mask = a.maybe("attn_mask")
    return functional.scaled_dot_product_attention(
        a.tensor("query"), a.tensor("key"), a.tensor("value"), attn_mask=mask
    )


OPERATORS: dict[str, Operator] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "einsum": lambda a: torch.einsum(a.text("equation", ""), *a.tensors("values")),
    "linear": _linear,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
}
