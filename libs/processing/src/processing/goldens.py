"""golden_vectors.safetensors: examples that a wrapper of any language repeats, one file read with nothing but JSON.

The file is a safetensors file (https://github.com/huggingface/safetensors#format): eight bytes of header length, a JSON header
with dtype, shape and place of each array, then their bytes, little-endian. `__metadata__.vectors` is a JSON text with three lists:

preprocess   drawn pictures and the fingerprints of their tensors
postprocess  arrays as a model could give them, the size of the picture they are of, and the predictions
model        stored pictures, the fingerprints of their tensors, values of the model's outputs, and the predictions
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import GoldenError

SCHEMA_VERSION = 1
MAX_HEADER_BYTES = 64 << 20
SAMPLES = 8
_DTYPES = {
    "U8": "uint8",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}

BLOCK = 1 << 16
"""Values that are drawn at once: few enough for a processor's own memory."""

Array = NDArray[Any]
Words = NDArray[np.uint32]
Arrays = Mapping[str, Array]


def draw(pattern: str, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A picture uint8 [height, width, 3] by arithmetic alone, the same in every language; `noise` or `ramp`.

    All arithmetic is on unsigned 32-bit integers, which wrap round. Raises GoldenError for an unknown pattern.
    """
    if pattern not in PATTERNS:
        raise GoldenError(f"pattern {pattern!r} is unknown; known: {', '.join(PATTERNS)}")
    chosen = PATTERNS[pattern]
    y, x, c = (np.arange(count, dtype=np.uint32) for count in (height, width, 3))
    line = (x[:, None] * chosen.x + c * chosen.c).ravel() + np.uint32(seed * int(chosen.seed) & 0xFFFFFFFF)
    drawn = np.empty((height, line.size), np.uint8)
    rows = max(1, BLOCK // line.size)
    for top in range(0, height, rows):
        part = y[top : top + rows, None] * chosen.y + line
        drawn[top : top + rows] = chosen.byte(part)
    return drawn.reshape(height, width, 3)


def _noise(v: Words) -> Array:
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x2C1B3C6D)
    v ^= v >> np.uint32(12)
    v >>= np.uint32(24)
    return v


def _ramp(total: Words) -> Array:
    turn = total.astype(np.uint16) & np.uint16(511)
    byte: Array = np.minimum(turn, np.uint16(511) - turn)
    return byte


class Pattern(NamedTuple):
    """What row, column, channel and seed are multiplied with, and what makes a byte of their sum, in which it may be written."""

    y: np.uint32
    x: np.uint32
    c: np.uint32
    seed: np.uint32
    byte: Callable[[Words], Array]


PATTERNS = {
    "noise": Pattern(
        np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D), np.uint32(0x27D4EB2F), _noise
    ),
    "ramp": Pattern(np.uint32(3), np.uint32(2), np.uint32(85), np.uint32(37), _ramp),
}


def fingerprint(tensor: Array) -> dict[str, Any]:
    """What a tensor is recognised by: type, shape, CRC-32 of its little-endian bytes, and a few values for messages."""
    flat = np.ascontiguousarray(tensor).ravel()
    places = np.unique(np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64))
    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "crc32": f"{zlib.crc32(_little_endian(flat)):08x}",
        "samples": [[int(place), flat[place].item()] for place in places],
    }


def read(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The vectors and the arrays by name; raises GoldenError for anything else than such a file."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(MAX_HEADER_BYTES, len(data) - 8):
        raise GoldenError("is no safetensors file")
    try:
        header = json.loads(data[8 : 8 + size])
        vectors = json.loads(header.pop("__metadata__")["vectors"])
        version = vectors.get("schema_version")
        arrays = {name: _array(data, 8 + size, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GoldenError(f"cannot be read ({type(error).__name__}: {error})") from error
    if version != SCHEMA_VERSION:
        raise GoldenError(f"has schema version {version!r}, known is {SCHEMA_VERSION}")
    return vectors, arrays


def write(vectors: Mapping[str, Any], arrays: Arrays) -> bytes:
    """The file's bytes, which depend on nothing but the arguments."""
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    known = {dtype: code for code, dtype in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"vectors": json.dumps(vectors, separators=(",", ":"))}}
    parts, end = [], 0
    for name in names:
        parts.append(_little_endian(np.ascontiguousarray(arrays[name])))
        start, end = end, end + len(parts[-1])
        shape = list(arrays[name].shape)
        header[name] = {"dtype": known[arrays[name].dtype.name], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _array(data: bytes, base: int, entry: Mapping[str, Any]) -> Array:
    dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
    shape, (start, end) = tuple(int(side) for side in entry["shape"]), entry["data_offsets"]
    if min((*shape, 0)) < 0 or not 0 <= start <= end <= len(data) - base:
        raise ValueError("an array lies outside the file")
    if end - start != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError("an array has not the size of its shape")
    return np.frombuffer(data, dtype, (end - start) // dtype.itemsize, base + start).reshape(shape)


def _little_endian(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
