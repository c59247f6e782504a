"""Swift's operators: on two values of one type, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .runtime import FIXED, FLOATING, LITERAL, LFloat, SwiftTrap, like


def meet(a: Any, b: Any, op: str) -> tuple[Any, Any]:
    kind, other = type(a), type(b)
    if kind is other:
        return a, b
    if kind in LITERAL and other in LITERAL:
        return LFloat(a), LFloat(b)
    if kind in LITERAL:
        return like(b, a), b
    if other in LITERAL:
        return a, like(a, b)
    raise SwiftTrap(f"{kind.__name__} {op} {other.__name__}")


def _kept(result: Any, a: Any) -> Any:
    return type(a)(result) if type(a) in LITERAL else result


def arithmetic(op: str, do: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator on two numbers of one type; wrapping in its type, or trapping where it would overflow."""

    def operate(a: Any, b: Any) -> Any:
        if type(a) is not type(b):
            a, b = meet(a, b, op)
        result = do(a, b)
        if type(a) in FIXED and "&" not in op and int(result) != do(int(a), int(b)):
            raise SwiftTrap(f"overflow of {a!r} {op} {b!r}")
        return _kept(result, a)

    return operate


def _plus(a: Any, b: Any) -> Any:
    if isinstance(a, (list, str)) and type(a) is type(b):
        return a + b
    return _sum(a, b)


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, FLOATING):
        return a / b if b or type(a) is np.float32 else float(np.float64(a) / np.float64(b))
    if not b:
        raise SwiftTrap("division by zero")
    quotient = abs(int(a)) // abs(int(b))
    return type(a)(quotient if (a < 0) == (b < 0) else -quotient)


def _remainder(a: Any, b: Any) -> Any:
    return type(a)(a - _divide(a, b) * b)


_sum = arithmetic("+", lambda a, b: a + b)
op_add = _plus
op_sub = arithmetic("-", lambda a, b: a - b)
op_mul = arithmetic("*", lambda a, b: a * b)
op_div = arithmetic("/", _divide)
op_mod = arithmetic("%", _remainder)
op_wadd = arithmetic("&+", lambda a, b: a + b)
op_wsub = arithmetic("&-", lambda a, b: a - b)
op_wmul = arithmetic("&*", lambda a, b: a * b)
op_band = arithmetic("&", lambda a, b: a & b)
op_bor = arithmetic("|", lambda a, b: a | b)
op_bxor = arithmetic("^", lambda a, b: a ^ b)


def op_shl(a: Any, b: Any) -> Any:
    return _kept(a << int(b) if isinstance(a, int) else type(a)((int(a) << int(b)) & int(np.iinfo(type(a)).max)), a)


def op_shr(a: Any, b: Any) -> Any:
    return _kept(a >> int(b) if isinstance(a, int) else type(a)(int(a) >> int(b)), a)


def compared(op: str, do: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    """A comparison of two values of one type."""

    def compare(a: Any, b: Any) -> bool:
        if (
            type(a) is not type(b)
            and isinstance(a, (int, float, np.generic))
            and isinstance(b, (int, float, np.generic))
        ):
            a, b = meet(a, b, op)
        return bool(do(a, b))

    return compare


op_lt = compared("<", lambda a, b: a < b)
op_le = compared("<=", lambda a, b: a <= b)
op_gt = compared(">", lambda a, b: a > b)
op_ge = compared(">=", lambda a, b: a >= b)
op_eq = compared("==", lambda a, b: a == b)
op_ne = compared("!=", lambda a, b: a != b)


def op_neg(a: Any) -> Any:
    return _kept(-a, a)


def op_not(a: Any) -> Any:
    return ~a


class Range:
    """Half open; `through` gives one whose end is one more."""

    def __init__(self, start: Any, end: Any) -> None:
        kind = type(end) if type(end) in FIXED else type(start) if type(start) in FIXED else int
        self.start, self.end, self.kind = int(start), int(end), kind
        if self.start > self.end:
            raise SwiftTrap(f"a range from {start} to {end}")

    def __iter__(self) -> Any:
        return iter(range(self.start, self.end)) if self.kind is int else map(self.kind, range(self.start, self.end))

    def __len__(self) -> int:
        return self.end - self.start

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, np.generic)) and self.start <= int(value) < self.end


def op_upto(a: Any, b: Any) -> Range:
    return Range(a, b)


def op_through(a: Any, b: Any) -> Range:
    return Range(a, b + 1)


class From(NamedTuple):
    start: int


op_from = From
