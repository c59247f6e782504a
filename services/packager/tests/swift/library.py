"""What the translated program uses of Swift's library."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .numbers import number
from .operators import From, Range, meet
from .runtime import NUMBERS, Case, Implicit, Own, SwiftTrap, copied, like, settled


class Pair(NamedTuple):
    offset: int
    element: Any


def index(base: Any, place: Any) -> Any:
    if isinstance(base, dict):
        return base.get(place)
    if isinstance(base, (Own, Case)):
        (name,) = [one for one in dir(base) if one.startswith("subscript__")]
        return getattr(base, name)(p_key=place)
    if isinstance(place, (Range, From)):
        end = place.end if isinstance(place, Range) else len(base)
        if end > len(base):
            raise SwiftTrap("a range outside an array")
        return base[place.start : end]
    if type(place) not in (int,) and not (isinstance(place, int) and not isinstance(place, bool)):
        raise SwiftTrap(f"{type(place).__name__} as an index")
    if not 0 <= place < len(base):
        raise SwiftTrap(f"index {place} of {len(base)}")
    return base[place]


def get(base: Any, name: str) -> Any:
    """A property of anything."""
    if isinstance(base, type) and name == "allCases":
        return base.allCases()
    if isinstance(base, (Own, Case)):
        return getattr(base, f"f_{name}")
    if isinstance(base, Pair) and name in ("offset", "element"):
        return getattr(base, name)
    return PROPERTIES[name](base)


PROPERTIES: dict[str, Callable[[Any], Any]] = {
    "count": len,
    "isEmpty": lambda base: len(base) == 0,
    "first": lambda base: next(iter(base), None),
    "last": lambda base: base[-1] if len(base) else None,
    "indices": lambda base: Range(0, len(base)),
    "keys": list,
    "utf8": lambda base: [np.uint8(byte) for byte in base.encode()],
    "lowerBound": lambda base: base.start,
    "upperBound": lambda base: base.end,
    "startIndex": lambda base: 0,
    "isNaN": lambda base: bool(np.isnan(base)),
    "isFinite": lambda base: bool(np.isfinite(base)),
    "bitPattern": lambda base: np.uint32(struct.unpack("<I", struct.pack("<f", base))[0]),
    "infinity": lambda base: base(math.inf),
    "nan": lambda base: base(math.nan),
    "pi": lambda base: base(math.pi),
    "min": lambda base: -(2**63),
    "self": lambda base: base,
    "path": str,
}


def call(base: Any, name: str, *given: Any, **labelled: Any) -> Any:
    """A method of the library."""
    if name == "append" and "contentsOf" in labelled:
        base.extend(labelled["contentsOf"])
        return None
    if name == "append" and base:
        given = (like(base[0], given[0]),)
    return METHODS[name](base, *given, **labelled)


def send(base: Any, mangled: str, name: str, plain: list[Any], keywords: dict[str, Any]) -> Any:
    """A method of ours, or the library's of that name."""
    if isinstance(base, (Own, Case)) or not hasattr(base, "__len__"):
        return getattr(base, mangled)(**keywords)
    return call(base, name, *plain)


def reduced(base: Any, start: Any, step: Callable[[Any, Any], Any]) -> Any:
    total, seen = start, False
    for one in base:
        total = like(one, total) if not seen and isinstance(one, (int, float, np.generic)) else total
        total, seen = step(total, one), True
    return settled(total)


def ordered(base: Any, by: Callable[[Any, Any], bool] | None = None) -> list[Any]:
    from functools import cmp_to_key

    if by is None:
        return sorted(base)
    return sorted(base, key=cmp_to_key(lambda a, b: -1 if by(a, b) else 1 if by(b, a) else 0))


def without_none(values: Iterable[Any]) -> list[Any]:
    return [one for one in values if one is not None]


def contains(base: Any, given: Any) -> bool:
    if callable(given):
        return any(given(one) for one in base)
    return given in base


def replace(base: list[Any], place: Range, **labelled: Any) -> None:
    base[place.start : place.end] = labelled["with"]


def rounded(base: Any, rule: str = "away") -> Any:
    do = {"toNearestOrEven": np.rint, "up": np.ceil, "down": np.floor}[rule]
    return type(base)(do(base))


def mapped(base: Any, do: Callable[..., Any]) -> Any:
    """Of a sequence, or of an optional that holds none."""
    if base is None or isinstance(base, (Own, Case, int, float, str, Path)):
        return None if base is None else do(base)
    return [do(one) for one in base]


METHODS: dict[str, Callable[..., Any]] = {
    "map": mapped,
    "compactMap": lambda base, do: without_none(do(one) for one in base),
    "flatMap": lambda base, do: list(itertools.chain.from_iterable(do(one) for one in base)),
    "filter": lambda base, do: [one for one in base if do(one)],
    "forEach": lambda base, do: [do(one) for one in base] and None,
    "reduce": reduced,
    "contains": contains,
    "allSatisfy": lambda base, do: all(do(one) for one in base),
    "append": lambda base, one: base.append(copied(one)),
    "reserveCapacity": lambda base, size: None,
    "replaceSubrange": replace,
    "remove": lambda base, at: base.pop(at),
    "enumerated": lambda base: [Pair(number, one) for number, one in enumerate(base)],
    "sorted": ordered,
    "prefix": lambda base, size: list(base)[: _natural(size)],
    "suffix": lambda base, size: base[len(base) - size :],
    "dropFirst": lambda base: base[1:],
    "dropLast": lambda base: base[:-1],
    "joined": lambda base, separator=None: list(itertools.chain.from_iterable(base))
    if separator is None and not (base and isinstance(base[0], str))
    else (separator or "").join(base),
    "first": lambda base, where: next((one for one in base if where(one)), None),
    "last": lambda base, where: next((one for one in reversed(base) if where(one)), None),
    "firstIndex": lambda base, of: base.index(of) if of in base else None,
    "min": lambda base: min(base, default=None),
    "max": lambda base: max(base, default=None),
    "squareRoot": np.sqrt,
    "rounded": rounded,
    "isLeadSurrogate": lambda base, unit: 0xD800 <= int(unit) < 0xDC00,
    "multipliedReportingOverflow": lambda base, by: (base * by, not -(2**63) <= base * by < 2**63),
    "appendingPathComponent": lambda base, name: base / name,
    "mapValues": lambda base, do: {key: do(one) for key, one in base.items()},
    "hasPrefix": lambda base, start: base.startswith(start),
}  # fmt: skip


def _natural(size: int) -> int:
    if size < 0:
        raise SwiftTrap("a negative count")
    return size


def each(values: Any) -> Iterable[Any]:
    return list(values) if isinstance(values, list) else values


def matches(value: Any, pattern: Any) -> bool:
    if isinstance(pattern, Range):
        return value is not None and value in pattern
    return bool(value == pattern)


def repeated(values: Any = (), *, repeating: Any = None, count: int = 0) -> list[Any]:
    return list(values) if values else [copied(repeating) for _ in range(count)]


def shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def b_String(value: Any = None, **labelled: Any) -> str:
    if "decoding" in labelled:
        units = labelled["decoding"]
        wide = labelled["as"] is b_UTF16
        data = b"".join(int(one).to_bytes(2 if wide else 1, "little") for one in units)
        return data.decode("utf-16-le" if wide else "utf-8", errors="replace")
    return shown(value)


def formatted(*given: Any, **labelled: Any) -> str:
    return str(labelled["format"] % tuple(given)) if given else str(labelled["format"])


def text(*given: Any, **labelled: Any) -> str:
    return formatted(*given, **labelled) if "format" in labelled else b_String(*given, **labelled)


def extreme(best: Callable[..., Any]) -> Callable[..., Any]:
    def choose(*values: Any) -> Any:
        chosen = values[0]
        for one in values[1:]:
            a, b = meet(chosen, one, "min")
            chosen = best(a, b)
        return chosen

    return choose


def function(do: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: do(value) if type(value) is np.float32 else float(do(value))


def strided(**labelled: Any) -> list[int]:
    end = labelled["to"] if "to" in labelled else labelled["through"] + (1 if labelled["by"] > 0 else -1)
    return [int(one) for one in range(labelled["from"], end, labelled["by"])]


def data(value: Any = None, **labelled: Any) -> list[Any]:
    return [np.uint8(byte) for byte in Path(labelled["contentsOf"]).read_bytes()]


b_UTF8, b_UTF16 = Implicit("utf8"), Implicit("utf16")
NAMES: dict[str, Any] = {
    **{f"b_{name}": number(name) for name in NUMBERS},
    "b_String": text, "b_UTF8": b_UTF8, "b_UTF16": b_UTF16, "b_Array": list, "b_Data": data, "b_min": extreme(min),
    "b_max": extreme(max), "b_abs": abs, "b_exp": function(np.exp), "b_log": function(np.log), "b_sin": function(np.sin),
    "b_cos": function(np.cos), "b_zip": lambda a, b: list(zip(a, b, strict=False)), "b_stride": strided,
    "b_precondition": lambda test, why="": test or (_ for _ in ()).throw(SwiftTrap(why)),
}  # fmt: skip
