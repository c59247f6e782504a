"""The form of tensors: reshaping, joining, cutting, padding, and tensors made from nothing."""

from typing import Any

import torch
from torch.nn import functional

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking


def _reshape(a: Arguments) -> Any:
    x, shape = a.tensor("x"), a.ints("shape")
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _expand_dims(a: Arguments) -> Any:
    x, axes = a.tensor("x"), a.ints("axes")
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(a: Arguments) -> Any:
    x = a.tensor("x")
    return x.squeeze() if a.maybe("axes") is None else x.squeeze(tuple(a.ints("axes")))


def _concat(a: Arguments) -> Any:
    values, axis = a.tensors("values"), a.integer("axis")
    values = [value.reshape(1) if value.dim() == 0 else value for value in values]
    if not a.flag("interleave"):
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


def _split(a: Arguments) -> Any:
    x, axis = a.tensor("x"), a.integer("axis")
    sizes = a.ints("split_sizes") or [x.shape[axis] // a.integer("num_splits")] * a.integer("num_splits")
    return list(torch.split(x, sizes, axis))


def _slice_by_index(a: Arguments) -> Any:
    x, begin, end = a.tensor("x"), a.ints("begin"), a.ints("end")
    rank = x.dim()
    strides = a.ints("stride", [1] * rank)
    from_start, to_end, single = (a.ints(f"{name}_mask", [0] * rank) for name in ("begin", "end", "squeeze"))
    for axis in reversed(range(rank)):
        if single[axis]:
            x = x.select(axis, 0 if from_start[axis] else begin[axis])
            continue
        wanted = slice(
            None if from_start[axis] else begin[axis], None if to_end[axis] else end[axis], strides[axis]
        ).indices(x.shape[axis])
        x = (
            x.index_select(axis, torch.arange(*wanted))
            if wanted[2] < 0
            else x[(slice(None),) * axis + (slice(*wanted),)]
        )
    return x


def _slice_by_size(a: Arguments) -> Any:
    x = a.tensor("x")
    for axis, (begin, size) in enumerate(zip(a.ints("begin"), a.ints("size"), strict=True)):
        start = begin % x.shape[axis] if begin < 0 else begin
        x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)
    return x


def _pad(a: Arguments) -> Any:
    x, pad, mode = a.tensor("x"), a.ints("pad"), a.text("mode", "constant")
    pairs = list(zip(pad[0::2], pad[1::2], strict=True))
    if mode == "constant":
        flat = [amount for pair in reversed(pairs) for amount in pair]
        return functional.pad(x, flat, value=a.number("constant_val"))
    if mode not in {"reflect", "replicate"}:
        raise lacking("pad", f"of mode {mode}")
    for axis, (before, behind) in zip(range(-len(pairs), 0), pairs, strict=True):
        last = x.shape[axis] - 1
        at = torch.arange(-before, x.shape[axis] + behind)
        at = last - (last - at.abs()).abs() if mode == "reflect" else at.clamp(0, last)
        x = x.index_select(axis, at) if before or behind else x
    return x


def _range(a: Arguments) -> Any:
    values = [a.tensor(name).reshape(()) for name in ("start", "end", "step")]
    floats = any(value.is_floating_point() for value in values)
    start, end, step = (value.item() for value in values)
    return torch.arange(start, end, step, dtype=torch.float32 if floats else torch.int32)


def _fill(a: Arguments) -> Any:
    value = a.maybe("value")
    return (torch.tensor(0.0) if value is None else value.reshape(())).expand(a.ints("shape")).clone()


def _fill_like(a: Arguments) -> Any:
    value = a.maybe("value")
    return (torch.tensor(0.0) if value is None else value.reshape(())).expand(a.tensor("ref_tensor").shape).clone()


def _depth_to_space(a: Arguments) -> Any:
    x, block = a.tensor("x"), a.integer("block_size")
    n, c, h, w = x.shape
    cells = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return cells.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(a: Arguments) -> Any:
    x, block = a.tensor("x"), a.integer("block_size")
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return cells.reshape(n, c * block**2, h // block, w // block)


def _reverse(a: Arguments) -> Any:
    x = a.tensor("x")
    return x.flip(a.ints("axes", list(range(x.dim()))))


def _sliding_windows(a: Arguments) -> Any:
    axis, x = a.integer("axis"), a.tensor("x")
    axis %= x.dim()
    return x.unfold(axis, a.integer("size"), a.integer("stride", 1)).movedim(-1, axis + 1)


def _flatten2d(a: Arguments) -> Any:
    x = a.tensor("x")
    axis = a.integer("axis", 1) % x.dim()
    return x.reshape(int(torch.tensor(x.shape[:axis]).prod()), -1)


OPERATORS: dict[str, Operator] = {
    "concat": _concat,
    "depth_to_space": _depth_to_space,
    "expand_dims": _expand_dims,
    "fill": _fill,
    "fill_like": _fill_like,
    "flatten2d": _flatten2d,
    "pad": _pad,
    "pixel_shuffle": lambda a: functional.pixel_shuffle(a.tensor("x"), a.integer("upscale_factor")),
    "pixel_unshuffle": lambda a: functional.pixel_unshuffle(a.tensor("x"), a.integer("downscale_factor")),
    "range_1d": _range,
    "reshape": _reshape,
    "reverse": _reverse,
    "shape": lambda a: torch.tensor(a.tensor("x").shape, dtype=torch.int32),
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "sliding_windows": _sliding_windows,
    "space_to_depth": _space_to_depth,
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda a: torch.stack(a.tensors("values"), a.integer("axis")),
    "tile": lambda a: a.tensor("x").repeat(a.ints("reps")),
    "transpose": lambda a: a.tensor("x").permute(a.ints("perm")),
}
