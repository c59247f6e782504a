"""The file of golden vectors: what is written is read, what is damaged is refused, and what is drawn is the same for ever."""

import json

import numpy as np
import pytest

from processing import golden_examples, goldens
from processing.errors import GoldenError
from processing.pipeline import Pipeline

from .samples import metadata

ARRAYS = {
    "picture": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "output": np.array([[1.5, -np.inf], [np.nan, 0.0]], np.float32),
    "nothing": np.zeros((0, 4), np.float32),
}
VECTORS = {"schema_version": 1, "model": ["ä", 0.1]}


def test_what_is_written_is_read():
    data = goldens.write(VECTORS, ARRAYS)
    vectors, arrays = goldens.read(data)
    assert vectors == VECTORS
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert goldens.write(VECTORS, dict(reversed(ARRAYS.items()))) == data


def test_it_is_what_the_library_of_the_format_reads(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    read = safetensors.load(goldens.write(VECTORS, {k: v for k, v in ARRAYS.items() if v.size}))
    np.testing.assert_array_equal(read["output"], ARRAYS["output"])


def tampered(change):
    data = goldens.write(VECTORS, ARRAYS)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["output"].update(shape=[2, 3]),
        lambda header: header["output"].update(shape=[-2, -2]),
        lambda header: header["output"].update(shape=[1 << 62, 1 << 62]),
        lambda header: header["output"].update(data_offsets=[0, 1 << 40]),
        lambda header: header["output"].update(data_offsets=[-16, 0]),
        lambda header: header["output"].update(dtype="BF16"),
        lambda header: header.update(output=[]),
        lambda header: header.pop("__metadata__"),
        lambda header: header["__metadata__"].update(vectors="[]"),
        lambda header: header["__metadata__"].update(vectors="{"),
        lambda header: header["__metadata__"].update(vectors='{"schema_version": 2}'),
    ],
)
def test_a_damaged_file_is_refused_by_name(change):
    with pytest.raises(GoldenError, match=r"golden_vectors\.safetensors"):
        goldens.read(tampered(change))


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 7, b"\xff" * 8, (1 << 40).to_bytes(8, "little") + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(GoldenError):
        goldens.read(data)


def test_drawings_are_arithmetic():
    """Written out once in plain integers, as a port would have them."""
    for pattern, byte in (("noise", noise), ("ramp", ramp)):
        drawn = goldens.draw(pattern, 3, 5, 7)
        expected = [[[byte(y, x, c, 7) for c in range(3)] for x in range(5)] for y in range(3)]
        np.testing.assert_array_equal(drawn, np.array(expected, np.uint8))
    with pytest.raises(GoldenError, match="spots"):
        goldens.draw("spots", 1, 1, 0)


def noise(y, x, c, seed):
    v = (y * 0x9E3779B1 + x * 0x85EBCA77 + c * 0xC2B2AE3D + seed * 0x27D4EB2F) & 0xFFFFFFFF
    v ^= v >> 15
    v = v * 0x2C1B3C6D & 0xFFFFFFFF
    v ^= v >> 12
    return v >> 24


def ramp(y, x, c, seed):
    t = (3 * y + 2 * x + 85 * c + 37 * seed) & 511
    return t if t < 256 else 511 - t


def test_a_fingerprint_tells_one_bit():
    tensor = np.zeros((1, 3, 4, 4), np.float32)
    other = tensor.copy()
    other[0, 1, 2, 3] = np.nextafter(np.float32(0), np.float32(1))
    assert goldens.fingerprint(tensor)["crc32"] != goldens.fingerprint(other)["crc32"]
    assert goldens.fingerprint(tensor)["shape"] == [1, 3, 4, 4]


def test_every_model_gets_enough_examples_of_odd_pictures():
    pipeline = Pipeline.from_metadata(metadata())
    vectors, _ = goldens.read(golden_examples.make(pipeline, [], golden_examples.Apart(1, 1, 1), 0.01))
    sizes = [(v["height"], v["width"]) for v in vectors["preprocess"]]
    assert len(sizes) >= 32
    assert sum(h != w for h, w in sizes) * 2 >= len(sizes)
    assert {1} < {side for size in sizes for side in size}
    assert max(h * w for h, w in sizes) > 10_000_000
