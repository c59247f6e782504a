"""Refuses a stranger's LiteRT file that runs other code, reads outside of itself or grows without end wherever it is loaded.

Phones load the file outside of any sandbox, so it is read here as bytes of an enemy: a walk over the flatbuffer's tables that checks every
offset, touches no weights and counts what it follows. It needs no LiteRT, which the worker itself does not have.
Slots of the tables: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path
from struct import Struct

from contracts.errors import Permanent

IDENTIFIER = b"TFL3"
VERSION = 3
MAX_STEPS = 2_000_000
MAX_RANK = 8
MAX_ELEMENTS = 1 << 31
CUSTOM, LAST = 32, 209
STABLEHLO = frozenset(range(162, 203)) | {204, 206, 207, 208, 209}
REFUSED: dict[int, str] = {
    **dict.fromkeys(STABLEHLO, "operators of StableHLO"),
    **dict.fromkeys((31, 118, 119, 129), "operators that run graphs, for ever where they like,"),
    **dict.fromkeys((136, 137, 138, 139, 142, 143, 144), "operators that keep something from one run to the next"),
    CUSTOM: "custom operators, those of SELECT_TF_OPS among them,",
    51: "delegates",
}
"""Members of BuiltinOperator, up to LAST."""
BYTES_PER_ELEMENT = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 10: 8, 15: 4, 16: 2}
"""Members of TensorType that a model may keep constants in."""

I8, U16, I32, U32, U64 = Struct("<b"), Struct("<H"), Struct("<i"), Struct("<I"), Struct("<Q")


def check(path: Path) -> None:
    """Raises Permanent("conversion_failed") that names what is not allowed in a LiteRT file here."""
    if path.stat().st_size < 8:
        raise _broken()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Walk(data).model()


class _Walk:
    """One pass over one file; every position that is read was checked to lie in it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._left = MAX_STEPS
        self._codes = 0

    def model(self) -> None:
        if self._bytes(4, 4) != IDENTIFIER:
            raise _broken()
        root = self._follow(0)
        if self._scalar(root, 0, U32) != VERSION:
            raise _refused(f"its version is not {VERSION}")
        self._codes = sum(1 for code in self._tables(root, 1) if self._operator(code))
        buffers = [self._buffer(each) for each in self._tables(root, 4)]
        graphs = list(self._tables(root, 2))
        if len(graphs) != 1:
            raise _refused(f"it has {len(graphs)} graphs instead of one")
        if not self._graph(graphs[0], buffers):
            raise _refused("it holds no operators")
        if self._field(root, 8) or self._field(root, 9):
            raise _refused("weights outside the file are not allowed")

    def _operator(self, code: int) -> bool:
        # files of old writers have the number in the first slot, which ends at 127
        number = max(self._scalar(code, 0, I8), self._scalar(code, 3, I32))
        if number in REFUSED:
            raise _refused(f"{REFUSED[number]} are not allowed")
        if self._field(code, 1) or not 0 <= number <= LAST:
            raise _refused(f"{REFUSED[CUSTOM]} are not allowed")
        return True

    def _buffer(self, table: int) -> int:
        """Its bytes."""
        if self._scalar(table, 1, U64) > 1 or self._scalar(table, 2, U64) > 1:
            raise _refused("weights outside the flatbuffer are not allowed")
        return self._count(self._vector(table, 0), 1) if self._field(table, 0) else 0

    def _graph(self, graph: int, buffers: list[int]) -> int:
        """How many operators it has."""
        tensors = 0
        for tensor in self._tables(graph, 0):
            tensors += 1
            self._tensor(tensor, buffers)
        for slot in (1, 2):
            self._indices(graph, slot, tensors)
        operators = 0
        for operator in self._tables(graph, 3):
            operators += 1
            if self._scalar(operator, 0, U32) >= self._codes:
                raise _broken()
            self._indices(operator, 1, tensors)
            self._indices(operator, 2, tensors)
        return operators

    def _tensor(self, tensor: int, buffers: list[int]) -> None:
        shape = self._numbers(tensor, 0)
        kind, buffer = self._scalar(tensor, 1, I8), self._scalar(tensor, 2, U32)
        if len(shape) > MAX_RANK or any(size < 0 for size in shape):
            raise _refused(f"a tensor's shape is {shape[:MAX_RANK]}")
        if prod(shape) > MAX_ELEMENTS:
            raise _refused(f"a tensor has more than {MAX_ELEMENTS} elements")
        if buffer >= len(buffers):
            raise _broken()
        if buffers[buffer] and kind not in BYTES_PER_ELEMENT:
            raise _refused(f"its constants are of kind {kind}")
        if buffers[buffer] and prod(shape) * BYTES_PER_ELEMENT[kind] != buffers[buffer]:
            raise _refused("a tensor claims more or less than its bytes")

    def _indices(self, table: int, slot: int, tensors: int) -> None:
        if any(not -1 <= number < tensors for number in self._numbers(table, slot)):
            raise _broken()

    def _numbers(self, table: int, slot: int) -> list[int]:
        if not self._field(table, slot):
            return []
        start = self._vector(table, slot)
        return [self._at(start + 4 + 4 * number, I32) for number in range(self._count(start, 4))]

    def _tables(self, table: int, slot: int) -> Iterator[int]:
        if not self._field(table, slot):
            return
        start = self._vector(table, slot)
        for number in range(self._count(start, 4)):
            yield self._follow(start + 4 + 4 * number)

    def _vector(self, table: int, slot: int) -> int:
        return self._follow(table + self._field(table, slot))

    def _count(self, start: int, size: int) -> int:
        count = self._at(start, U32)
        if start + 4 + count * size > len(self._data):
            raise _broken()
        return count

    def _scalar(self, table: int, slot: int, kind: Struct) -> int:
        place = self._field(table, slot)
        return self._at(table + place, kind) if place else 0

    def _field(self, table: int, slot: int) -> int:
        """The distance of a field from its table; 0 where it has its default."""
        layout = table - self._at(table, I32)
        place = 4 + 2 * slot
        return self._at(layout + place, U16) if place < self._at(layout, U16) else 0

    def _follow(self, position: int) -> int:
        return position + self._at(position, U32)

    def _at(self, position: int, kind: Struct) -> int:
        self._left -= 1
        if self._left < 0:
            raise _refused(f"it has more than {MAX_STEPS} values")
        return int(kind.unpack(self._bytes(position, kind.size))[0])

    def _bytes(self, position: int, size: int) -> bytes:
        if position < 0 or position + size > len(self._data):
            raise _broken()
        return self._data[position : position + size]


def _refused(reason: str) -> Permanent:
    return Permanent("conversion_failed", f"The converter left no usable model.tflite: {reason}.")


def _broken() -> Permanent:
    return _refused("it is not a LiteRT file")
