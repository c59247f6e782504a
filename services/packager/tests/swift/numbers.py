"""Initialisers of Swift's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .runtime import NUMBERS, SwiftTrap

SAME_BITS = {"Float": np.float32, "Double": np.float64, "Int64": np.int64}


def number(kind: str) -> Callable[..., Any]:
    """Of one kind; labels say how it is converted."""
    make = NUMBERS[kind]

    def convert(value: Any = None, **labelled: Any) -> Any:
        if "exactly" in labelled:
            given = labelled["exactly"]
            return make(int(given)) if float(given).is_integer() and _fits(make, int(given)) else None
        if "truncatingIfNeeded" in labelled:
            return np.array(int(labelled["truncatingIfNeeded"]) & (2**64 - 1), np.uint64).astype(make)[()]
        if "bitPattern" in labelled:
            same = labelled["bitPattern"].view(SAME_BITS[kind])
            return float(same) if kind == "Double" else same
        if "ascii" in labelled:
            return make(ord(labelled["ascii"]))
        if "sign" in labelled:
            return make(labelled["significand"] * 2.0 ** labelled["exponent"])
        return _converted(kind, make, value, labelled.get("radix", 10))

    return convert


def _converted(kind: str, make: Any, value: Any, radix: int) -> Any:
    if isinstance(value, str):
        try:
            return make(int(value, radix)) if kind not in ("Double", "Float") else make(value)
        except ValueError:
            return None
    if kind in ("Double", "Float"):
        return make(value)
    if not np.isfinite(value) or not _fits(make, int(value)):
        raise SwiftTrap(f"{value!r} is no {kind}")
    return make(int(value))


def _fits(make: Any, value: int) -> bool:
    bounds = np.iinfo(np.int64 if make is int else make)
    return int(bounds.min) <= value <= int(bounds.max)
