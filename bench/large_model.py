"""An ONNX model of any size that behaves like a small one."""

import shutil
from pathlib import Path

GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9
"""Numbers of fields in onnx.proto: of ModelProto, of GraphProto, and of TensorProto."""
UINT8 = 2


def grow(model: Path, target: Path, zeros: int) -> None:
    """The same ONNX model and a constant of so many bytes, all zero, that nothing uses; a hole in the file, which takes no disk.

    Messages of protobuf that are written twice are merged: the constant is a second graph behind the first.
    """
    told = _field(DIMS, zeros) + _field(DATA_TYPE, UINT8) + _bytes(NAME, b"modelport_room")
    tensor = told + _begin(RAW_DATA, zeros)
    initializer = _begin(INITIALIZER, len(tensor) + zeros) + tensor
    shutil.copyfile(model, target)
    with target.open("ab") as file:
        file.write(_begin(GRAPH, len(initializer) + zeros) + initializer)
        file.truncate(file.tell() + zeros)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _begin(number: int, length: int) -> bytes:
    return _varint(number << 3 | 2) + _varint(length)


def _bytes(number: int, data: bytes) -> bytes:
    return _begin(number, len(data)) + data
