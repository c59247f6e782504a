"""Refuses a stranger's Core ML package that holds anything but an ML program of Core ML's own operators and its own weights.

Apple's systems load the package outside of any sandbox, so its specification is read here as bytes of an enemy: every field that it may
have is in the table, with what lies inside it. It needs no coremltools. Field numbers: https://github.com/apple/coremltools, mlmodel/format;
a test holds the tables to the installed release.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from export_worker.sandbox import zip_guard
from export_worker.sandbox.zip_guard import Member

PACKAGE = "model.mlpackage"
SPECIFICATION = f"{PACKAGE}/Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = f"{PACKAGE}/Data/com.apple.CoreML/weights/weight.bin"
MANIFEST = f"{PACKAGE}/Manifest.json"
WEIGHT_FILE = b"@model_path/weights/weight.bin"
MAX_SPECIFICATION_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 64 << 10
MAX_FIELDS, MAX_DEPTH = 4_000_000, 48
REFUSED = frozenset({b"while_loop", b"custom_layer"})
"""Operators that run as long as their data says, or code that is not in the package."""

VARINT, BYTES = 0, 2
TEXT = ""
Fields = dict[int, str | int]
"""Number -> the message inside, TEXT for bytes without one, or the wire type of a number."""

ENTRIES: dict[str, Fields] = {
    name: {1: TEXT, 2: inside}
    for name, inside in {
        "functions": "function",
        "blocks": "block",
        "inputs": "argument",
        "attributes": "value",
    }.items()
}
TABLE: dict[str, Fields] = {
    "model": {1: VARINT, 2: TEXT, 502: "program"},
    "program": {1: VARINT, 2: "functions", 3: TEXT, 4: "attributes"},
    "function": {1: "named", 2: TEXT, 3: "blocks", 4: "attributes"},
    "block": {1: "named", 2: TEXT, 3: "operation", 4: "attributes"},
    "operation": {1: TEXT, 2: "inputs", 3: "named", 4: "block", 5: "attributes"},
    "argument": {1: "binding"},
    "binding": {1: TEXT, 2: "value"},
    "named": {1: TEXT, 2: "type"},
    "type": {1: "tensor type", 2: "list type", 3: "tuple type", 4: "dictionary type", 5: "state type"},
    "tensor type": {1: VARINT, 2: VARINT, 3: "dimension", 4: "attributes"},
    "dimension": {1: "size", 2: "size"},
    "size": {1: VARINT},
    "list type": {1: "type", 2: "dimension"},
    "tuple type": {1: "type"},
    "dictionary type": {1: "type", 2: "type"},
    "state type": {1: "type"},
    "value": {1: TEXT, 2: "type", 3: "immediate", 5: "file"},
    "immediate": {1: "tensor", 2: "values", 3: "values", 4: "pairs"},
    "tensor": dict.fromkeys(range(1, 8), TEXT),
    "values": {1: "value"},
    "pairs": {1: "pair"},
    "pair": {1: "value", 2: "value"},
    "file": {1: TEXT, 2: VARINT},
    **ENTRIES,
}  # fmt: skip


class Field(NamedTuple):
    """One field of a message; `start` and `end` of its bytes."""

    number: int
    start: int
    end: int


def check(path: Path) -> None:
    """Raises Permanent("conversion_failed") naming what is wrong with the stored zip."""

    def specification(data: bytes) -> None:
        walk = _Walk(path, data)
        try:
            walk.message("model", 0, len(data), 0)
        except IndexError as error:
            raise walk.broken() from error
        if not walk.operations:
            raise zip_guard.refused(path, "it holds no operators of an ML program")

    def manifest(data: bytes) -> None:
        try:
            items = sorted(entry["path"] for entry in json.loads(data)["itemInfoEntries"].values())
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            raise zip_guard.refused(path, "its manifest is none") from error
        if items != ["com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"]:
            raise zip_guard.refused(path, f"its manifest lists {ascii(items)[:100]}")

    zip_guard.check(
        path,
        {
            SPECIFICATION: Member(MAX_SPECIFICATION_BYTES, specification),
            WEIGHTS: Member(),
            MANIFEST: Member(MAX_MANIFEST_BYTES, manifest),
        },
    )


class _Walk:
    """One pass over one specification."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data, self._left = path, data, MAX_FIELDS
        self.operations = 0

    def message(self, kind: str, start: int, end: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise zip_guard.refused(self._path, f"its program is nested more than {MAX_DEPTH} deep")
        known = TABLE[kind]
        for field in self._fields(kind, known, start, end):
            inside = known[field.number]
            if kind == "operation" and field.number == 1:
                self.operations += 1
                self._require(self._data[field.start : field.end] not in REFUSED, "an operator that may not be in it")
            elif kind == "file" and field.number == 1:
                self._require(self._data[field.start : field.end] == WEIGHT_FILE, "weights of another file")
            if isinstance(inside, str) and inside != TEXT:
                self.message(inside, field.start, field.end, depth + 1)

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise zip_guard.refused(self._path, f"its program names {what}")

    def _fields(self, kind: str, known: Fields, at: int, end: int) -> Iterator[Field]:
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise zip_guard.refused(self._path, f"its specification has more than {MAX_FIELDS} fields")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            wanted = known.get(number)
            if wanted is None or wire != (wanted if isinstance(wanted, int) else BYTES):
                raise zip_guard.refused(self._path, f"it has a field that is none of the {kind} of an ML program")
            value, start = self._varint(at, end)
            at = start + value if wire == BYTES else start
            if at > end:
                raise self.broken()
            yield Field(number, start, at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise self.broken()
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise self.broken()

    def broken(self) -> Exception:
        return zip_guard.refused(self._path, "its specification is cut off")
