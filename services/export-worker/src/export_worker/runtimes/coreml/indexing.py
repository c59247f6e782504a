"""Values taken from places and put into places, and the places of the largest ones."""

from typing import Any

import torch

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking


def _positive(indices: Any, size: int) -> Any:
    """Indices from the end counted from the start."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def _gather(a: Arguments) -> Any:
    x, indices = a.tensor("x"), a.tensor("indices")
    batch, axis = a.integer("batch_dims"), a.integer("axis") % x.dim()
    if batch:
        parts = zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True)
        made = torch.stack([_take(part, at, axis - batch) for part, at in parts])
        return made.unflatten(0, x.shape[:batch])
    return _take(x, indices, axis)


def _take(x: Any, indices: Any, axis: int) -> Any:
    found = x.index_select(axis, _positive(indices, x.shape[axis]).reshape(-1))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_along_axis(a: Arguments) -> Any:
    x, axis = a.tensor("x"), a.integer("axis")
    return x.gather(axis, _positive(a.tensor("indices"), x.shape[axis]))


def _gather_nd(a: Arguments) -> Any:
    x, indices, batch = a.tensor("x"), a.tensor("indices").long(), a.integer("batch_dims")
    if batch:
        parts = zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True)
        return torch.stack([part[tuple(at.unbind(-1))] for part, at in parts]).unflatten(0, x.shape[:batch])
    return x[tuple(indices.unbind(-1))]


def _put(a: Arguments, numbered: Any) -> Any:
    """`data` with `updates` at the elements of these numbers, counted row by row."""
    data, updates, mode = a.tensor("data"), a.tensor("updates").reshape(-1), a.text("mode", "add")
    flat, at = data.reshape(-1).clone(), numbered.reshape(-1)
    reduce = {"add": "sum", "sub": "sum", "mul": "prod", "div": "prod", "max": "amax", "min": "amin"}
    if mode == "update":
        flat[at] = updates
    elif mode in reduce:
        updates = -updates if mode == "sub" else 1 / updates if mode == "div" else updates
        flat.scatter_reduce_(0, at, updates, reduce[mode])
    else:
        raise lacking(a.operator, f"of mode {mode}")
    return flat.reshape(data.shape)


def _numbers(data: Any) -> Any:
    return torch.arange(data.numel()).reshape(data.shape)


def _scatter(a: Arguments) -> Any:
    data, axis = a.tensor("data"), a.integer("axis")
    indices = _positive(a.tensor("indices"), data.shape[axis]).reshape(-1)
    return _put(a, _numbers(data).index_select(axis, indices))


def _scatter_along_axis(a: Arguments) -> Any:
    data, axis = a.tensor("data"), a.integer("axis")
    return _put(a, _numbers(data).gather(axis, _positive(a.tensor("indices"), data.shape[axis])))


def _scatter_nd(a: Arguments) -> Any:
    return _put(a, _numbers(a.tensor("data"))[tuple(a.tensor("indices").long().unbind(-1))])


def _topk(a: Arguments) -> Any:
    axis, k = a.integer("axis", -1), a.integer("k", 1)
    x = a.tensor("x")
    values, indices = x.sort(dim=axis, descending=not a.flag("ascending"), stable=True)
    k = x.shape[axis] if k == -1 else k
    return [values.narrow(axis, 0, k), indices.narrow(axis, 0, k).int()]


def _argsort(a: Arguments) -> Any:
    return a.tensor("x").argsort(dim=a.integer("axis", -1), descending=not a.flag("ascending"), stable=True).int()


def _one_hot(a: Arguments) -> Any:
    indices, size = a.tensor("indices"), a.integer("one_hot_vector_size")
    axis = a.integer("axis", -1)
    on, off = (a.maybe(name) for name in ("on_value", "off_value"))
    on, off = (torch.tensor(1) if on is None else on), (torch.tensor(0) if off is None else off)
    chosen = indices.long().unsqueeze(-1) == torch.arange(size)
    return torch.where(chosen, on.reshape(()), off.reshape(())).movedim(-1, axis)


OPERATORS: dict[str, Operator] = {
    "argsort": _argsort,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "non_zero": lambda a: a.tensor("x").nonzero().int(),
    "one_hot": _one_hot,
    "scatter": _scatter,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": _scatter_nd,
    "topk": _topk,
}
