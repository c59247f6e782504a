"""Element by element: arithmetic, comparison, logic, choice and change of type."""

from collections.abc import Callable
from typing import Any

import torch

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking

TYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float32,  # computed in float32; the program rounds what it stores as float16
    "bool": torch.bool,
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"), torch.int32),
}


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda a: function(a.tensor("x"), a.tensor("y"))


def _unary(function: Callable[[Any], Any]) -> Operator:
    return lambda a: function(a.tensor("x"))


def _real_div(a: Arguments) -> Any:
    x, y = a.tensor("x"), a.tensor("y")
    if not x.is_floating_point():
        raise lacking("real_div", "of integers")
    return x / y


def _cast(a: Arguments) -> Any:
    wanted = a.text("dtype", "fp32")
    if wanted not in TYPES:
        raise lacking("cast", f"to {wanted}")
    x = a.tensor("x")
    return x != 0 if wanted == "bool" else x.to(TYPES[wanted])


def _clip(a: Arguments) -> Any:
    return a.tensor("x").clamp(a.number("alpha", float("-inf")), a.number("beta", float("inf")))


OPERATORS: dict[str, Operator] = {
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _real_div,
    "floor_div": _binary(torch.floor_divide),
    "mod": _binary(torch.remainder),
    "pow": _binary(torch.pow),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "equal": _binary(torch.eq),
    "not_equal": _binary(torch.ne),
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "logical_and": _binary(torch.logical_and),
    "logical_or": _binary(torch.logical_or),
    "logical_xor": _binary(torch.logical_xor),
    "logical_not": _unary(torch.logical_not),
    **{
        name: _unary(getattr(torch, name))
        for name in (
            "abs", "acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "round",
            "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh",
        )
    },
    "inverse": lambda a: 1 / (a.tensor("x") + a.number("epsilon", 1e-4)),
    "log": lambda a: torch.log(a.tensor("x") + a.number("epsilon", 1e-45)),
    "rsqrt": lambda a: 1 / torch.sqrt(a.tensor("x") + a.number("epsilon", 1e-12)),
    "threshold": lambda a: a.tensor("x").clamp(min=a.number("alpha")),
    "clip": _clip,
    "cast": _cast,
    "identity": _unary(lambda x: x),
    "select": lambda a: torch.where(a.tensor("cond"), a.tensor("a"), a.tensor("b")),
}  # fmt: skip
