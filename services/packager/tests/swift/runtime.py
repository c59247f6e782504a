"""What translated Swift runs on: its numbers, structs, enums and optionals, as strict about types as Swift is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

np.seterr(all="ignore")


class SwiftTrap(Exception):
    """What would end a Swift program, or what its compiler would refuse."""


class LInt(int):
    """A literal, which takes the type that it meets."""


class LFloat(float):
    """A literal with a fraction."""


NUMBERS: dict[str, Any] = {
    "Int": int, "Double": float, "Float": np.float32, "Float32": np.float32, "UInt8": np.uint8, "UInt16": np.uint16,
    "UInt32": np.uint32, "UInt64": np.uint64, "Int32": np.int32, "Int64": np.int64,
}  # fmt: skip
LITERAL = (LInt, LFloat)
FIXED = (np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.int64)
FLOATING = (float, np.float32, LFloat)
Default = object()


class Thrown(Exception):
    """A Swift error on its way."""

    def __init__(self, value: Any) -> None:
        super().__init__(str(getattr(value, "f_message", value)))
        self.value = value


class Own:
    """A struct or class of the program."""

    name = ""

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        return str(getattr(self, "f_description", None) or f"{self.name}({self.__dict__})")


class Case:
    """A value of an enum; `payload` is what it holds."""

    name = ""
    cases: dict[str, Any]

    def __init__(self, case: str, payload: tuple[Any, ...], raw: Any) -> None:
        self.case, self.payload, self.f_rawValue = case, payload, raw

    @classmethod
    def add_case(cls, case: str, size: int, raw: Any) -> None:
        if "cases" not in cls.__dict__:
            cls.cases = {}
        maker: Any = (lambda *payload: cls(case, payload, None)) if size else cls(case, (), raw)
        setattr(cls, f"c_{case}", maker)
        cls.cases[case] = maker

    @classmethod
    def make(cls, *, rawValue: str) -> Any:
        return next((one for one in cls.cases.values() if one.f_rawValue == rawValue), None)

    @classmethod
    def allCases(cls) -> list[Any]:
        return list(cls.cases.values())

    def __hash__(self) -> int:
        return hash((self.name, self.case))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and (self.name, self.case, self.payload) == (
            other.name,
            other.case,
            other.payload,
        )

    def __repr__(self) -> str:
        return str(getattr(self, "f_description", self.case))


class Implicit(str):
    """`.name` of a type of the library."""


class Nothing(Exception):
    """A `?` met nil."""


def wanted(value: Any) -> Any:
    if value is None:
        raise Nothing
    return value


def chain(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Nothing:
        return None


def attempt(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (Thrown, OSError):
        return None


def either(value: Any, ask: Callable[[], Any]) -> Any:
    return ask() if value is None else value


def force(value: Any) -> Any:
    if value is None:
        raise SwiftTrap("unexpectedly found nil")
    return value


def settled(value: Any) -> Any:
    """A literal that meets no type: Int or Double."""
    return int(value) if type(value) is LInt else float(value) if type(value) is LFloat else value


def like(other: Any, value: Any) -> Any:
    """A literal as the type of another value."""
    kind = type(other)
    if kind is type(value) or type(value) not in LITERAL:
        return value
    if kind in LITERAL or other is None:
        return settled(value)
    if type(value) is LFloat and kind not in FLOATING:
        raise SwiftTrap(f"a literal with a fraction for {kind.__name__}")
    return kind(value)


def typed(value: Any, kind: Any, generics: tuple[str, ...] | list[str] = ()) -> Any:
    """The value as a declared type; SwiftTrap where it is of another."""
    if kind is None:
        return settled(value)
    if kind[0] == "named":
        return _named(value, kind[1], generics)
    if kind[0] == "optional":
        return None if value is None else typed(value, kind[1], generics)
    if kind[0] == "array":
        return _array(value, kind[1], generics)
    if kind[0] == "tuple" and kind[1]:
        if not isinstance(value, tuple) or len(value) != len(kind[1]):
            raise SwiftTrap(f"{value!r} for a tuple")
        return tuple(typed(one, part, generics) for one, part in zip(value, kind[1], strict=True))
    return value


def _named(value: Any, name: str, generics: Any) -> Any:
    wanted_type = NUMBERS.get(name)
    if wanted_type is not None:
        if type(value) is wanted_type:
            return value
        if type(value) not in LITERAL or (type(value) is LFloat and wanted_type not in (float, np.float32)):
            raise SwiftTrap(f"{type(value).__name__} {value!r} for {name}")
        return wanted_type(value)
    if name in generics or value is None:
        if value is None:
            raise SwiftTrap(f"nil for {name}")
        return value
    simple = {"String": str, "Bool": (bool, np.bool_)}.get(name)
    if simple is not None and not isinstance(value, simple):
        raise SwiftTrap(f"{type(value).__name__} for {name}")
    if isinstance(value, (Own, Case)) and value.name != name and name not in ("Predictor", "Error", "Any", "Self"):
        raise SwiftTrap(f"{value.name} for {name}")
    return value


def _array(value: Any, inner: Any, generics: Any) -> Any:
    if not isinstance(value, list):
        raise SwiftTrap(f"{type(value).__name__} for an array")
    if value and type(value[0]) in LITERAL:
        return [typed(one, inner, generics) for one in value]
    if value:
        first = typed(value[0], inner, generics)
        if first is not value[0] and not isinstance(first, (list, tuple)):
            raise SwiftTrap("an array of another type")
        if isinstance(first, list) and first and first != value[0]:
            return [typed(one, inner, generics) for one in value]
    return value


def listed(values: list[Any]) -> list[Any]:
    """The elements of an array literal, which have one type."""
    sample = next((one for one in values if type(one) not in LITERAL), None)
    if sample is None and any(type(one) is LFloat for one in values):
        return [LFloat(one) for one in values]
    return values if sample is None else [like(sample, one) for one in values]


def copied(value: Any) -> Any:
    """A value of one's own, as assigning to a variable makes it."""
    if isinstance(value, list):
        return list(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, Own):
        made = copy.copy(value)
        made.__dict__ = {key: copied(one) for key, one in value.__dict__.items()}
        return made
    return value


def become(target: Any, made: Any) -> None:
    target.__dict__.update(made.__dict__)


def spread(given: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Arguments of a closure: a tuple is taken apart where more than one is wanted."""
    given = tuple(given[0]) if len(given) == 1 and count > 1 else given
    return tuple(settled(one) for one in given[:count])
