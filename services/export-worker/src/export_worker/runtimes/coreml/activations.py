"""Activation functions of MIL."""

from typing import Any

import torch
from torch.nn import functional

from export_worker.runtimes.coreml.arguments import Arguments, Operator, lacking


def _gelu(a: Arguments) -> Any:
    x, mode = a.tensor("x"), a.text("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in {"EXACT", "TANH_APPROXIMATION"}:
        raise lacking("gelu", f"of mode {mode}")
    return functional.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _per_channel(a: Arguments, name: str) -> Any:
    """A vector of one number per channel, ready to be broadcast over [n, C, ...]."""
    return a.tensor(name).reshape(1, -1, *[1] * (a.tensor("x").dim() - 2))


def _prelu(a: Arguments) -> Any:
    x = a.tensor("x")
    return torch.where(x > 0, x, _per_channel(a, "alpha") * x)


def _softplus_parametric(a: Arguments) -> Any:
    return _per_channel(a, "alpha") * functional.softplus(_per_channel(a, "beta") * a.tensor("x"))


def _clamped_relu(a: Arguments) -> Any:
    x = a.tensor("x")
    return torch.where(x >= 0, x, a.number("alpha") * x).clamp(max=a.number("beta"))


def _thresholded_relu(a: Arguments) -> Any:
    x = a.tensor("x")
    return torch.where(x >= a.number("alpha", 1.0), x, torch.zeros_like(x))


OPERATORS: dict[str, Operator] = {
    "clamped_relu": _clamped_relu,
    "elu": lambda a: functional.elu(a.tensor("x"), a.number("alpha", 1.0)),
    "gelu": _gelu,
    "leaky_relu": lambda a: functional.leaky_relu(a.tensor("x"), a.number("alpha", 0.01)),
    "linear_activation": lambda a: a.tensor("x") * a.number("alpha") + a.number("beta"),
    "prelu": _prelu,
    "relu": lambda a: functional.relu(a.tensor("x")),
    "relu6": lambda a: functional.relu6(a.tensor("x")),
    "scaled_tanh": lambda a: a.number("alpha", 1.0) * torch.tanh(a.number("beta", 1.0) * a.tensor("x")),
    "sigmoid": lambda a: torch.sigmoid(a.tensor("x")),
    "sigmoid_hard": lambda a: (a.tensor("x") * a.number("alpha", 0.2) + a.number("beta", 0.5)).clamp(0, 1),
    "silu": lambda a: functional.silu(a.tensor("x")),
    "softmax": lambda a: torch.softmax(a.tensor("x"), a.integer("axis", -1)),
    "softplus": lambda a: functional.softplus(a.tensor("x")),
    "softplus_parametric": _softplus_parametric,
    "softsign": lambda a: functional.softsign(a.tensor("x")),
    "thresholded_relu": _thresholded_relu,
}
