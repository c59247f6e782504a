"""Refuses a stranger's ONNX file that reads other files, runs other code or grows without end wherever it is loaded.

Servers and users load the file outside of any sandbox, so it is read here as bytes of an enemy: a walk over the protobuf fields that
touches no weights, knows every field it lets pass and counts them. It needs no onnx, which would cost the run 40 MB and parse all of it.
Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; a test holds the tables to the installed release.
"""

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from contracts.errors import Permanent

MAX_FIELDS = 2_000_000
MAX_DEPTH = 8
MAX_NAME = 200
ELEMENTS_PER_BYTE = 4
DOMAINS = frozenset({b"", b"ai.onnx"})
ENDLESS = frozenset({b"Loop", b"Scan", b"SequenceMap"})
"""Operators that run as long as their data says."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INTS, FLOATS, DOUBLES = (VARINT, BYTES), (FIXED32, BYTES), (FIXED64, BYTES)

MODEL: dict[int, tuple[int, ...]] = {1: (VARINT,), **dict.fromkeys((2, 3, 4, 6, 7, 8, 14), (BYTES,)), 5: (VARINT,)}
GRAPH: dict[int, tuple[int, ...]] = dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 16), (BYTES,))
NODE: dict[int, tuple[int, ...]] = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 9), (BYTES,))
ATTRIBUTE: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((1, 4, 5, 6, 9, 10, 11, 13, 14, 15), (BYTES,)),
    2: (FIXED32,),
    3: (VARINT,),
    7: FLOATS,
    8: INTS,
    20: (VARINT,),
}
TENSOR: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((6, 8, 9, 12, 16), (BYTES,)),
    1: INTS,
    2: (VARINT,),
    4: FLOATS,
    5: INTS,
    7: INTS,
    10: DOUBLES,
    11: INTS,
    14: (VARINT,),
}
REFUSED: dict[tuple[str, int], str] = {
    ("model", 20): "training graphs",
    ("model", 25): "functions of its own",
    ("model", 26): "device configurations",
    ("graph", 15): "sparse tensors",
    ("node", 10): "device configurations",
    ("attribute", 21): "references to attributes of functions",
    ("attribute", 22): "sparse tensors",
    ("attribute", 23): "sparse tensors",
    ("tensor", 3): "tensors in segments",
    ("tensor", 13): "data outside the file",
}


class Field(NamedTuple):
    """`value` of a number; `start` and `end` of bytes."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def check(path: Path) -> None:
    """Raises Permanent("conversion_failed") that names what is not allowed in an ONNX file here."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[4:8] == b"ORTM":
            raise _broken()
        try:
            _Walk(data).model()
        except IndexError as error:
            raise _broken() from error


class _Walk:
    """One pass over one file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._left = MAX_FIELDS
        self._nodes = 0

    def model(self) -> None:
        graphs = 0
        for field in self._fields(0, len(self._data), "model", MODEL):
            if field.number == 7:
                graphs += 1
                if graphs > 1:
                    raise _refused("it holds its graph twice")
                self._graph(field, 0)
        if not self._nodes:
            raise _refused("it holds no operators")

    def _graph(self, outer: Field, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _refused(f"its graphs are nested more than {MAX_DEPTH} deep")
        for field in self._fields(outer.start, outer.end, "graph", GRAPH):
            if field.number == 1:
                self._node(field, depth)
            elif field.number == 5:
                self._tensor(field)

    def _node(self, outer: Field, depth: int) -> None:
        self._nodes += 1
        for field in self._fields(outer.start, outer.end, "node", NODE):
            if field.number == 4 and self._name(field) in ENDLESS:
                raise _refused(f"the operator {_shown(self._name(field))} may run for ever")
            if field.number == 7 and self._name(field) not in DOMAINS:
                raise _refused(f"operators of {_shown(self._name(field))} are not ONNX's own")
            if field.number == 5:
                self._attribute(field, depth)

    def _attribute(self, outer: Field, depth: int) -> None:
        for field in self._fields(outer.start, outer.end, "attribute", ATTRIBUTE):
            if field.number in (5, 10):
                self._tensor(field)
            elif field.number in (6, 11):
                self._graph(field, depth + 1)

    def _tensor(self, outer: Field) -> None:
        elements = 1
        for field in self._fields(outer.start, outer.end, "tensor", TENSOR):
            if field.number == 14 and field.value:
                raise _refused("data outside the file is not allowed")
            if field.number == 1:
                for size in self._dimensions(field):
                    elements = min(elements * size, 1 << 64)
        if elements > ELEMENTS_PER_BYTE * (outer.end - outer.start) + 1:
            raise _refused("a tensor claims more than its bytes")

    def _dimensions(self, field: Field) -> Iterator[int]:
        if field.wire == VARINT:
            yield field.value
        at = field.start
        while at < field.end:
            self._spend()
            value, at = self._varint(at, field.end)
            yield value

    def _name(self, field: Field) -> bytes:
        return self._data[field.start : min(field.end, field.start + MAX_NAME)]

    def _fields(self, at: int, end: int, kind: str, known: dict[int, tuple[int, ...]]) -> Iterator[Field]:
        while at < end:
            self._spend()
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if (kind, number) in REFUSED:
                raise _refused(f"{REFUSED[kind, number]} are not allowed")
            if wire not in known.get(number, ()):
                raise _refused(f"it has a field that is no field of an ONNX {kind}")
            value, start = self._varint(at, end) if wire in (VARINT, BYTES) else (0, at)
            size = _SIZES[wire](value)
            if start + size > end:
                raise _broken()
            at = start + size
            yield Field(number, wire, value, start, at) if wire == BYTES else Field(number, wire, value, at, at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _broken()
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise _broken()

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _refused(f"it has more than {MAX_FIELDS} fields")


_SIZES: dict[int, Callable[[int], int]] = {
    VARINT: lambda _: 0,
    BYTES: lambda size: size,
    FIXED64: lambda _: 8,
    FIXED32: lambda _: 4,
}


def _shown(name: bytes) -> str:
    return ascii(name.decode("utf-8", "replace"))[:MAX_NAME]


def _refused(reason: str) -> Permanent:
    return Permanent("conversion_failed", f"The converter left no usable model.onnx: {reason}.")


def _broken() -> Permanent:
    return _refused("it is not an ONNX file")
