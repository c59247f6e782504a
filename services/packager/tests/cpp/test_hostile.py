"""Files that were made to harm: golden vectors, metadata and pictures cut and turned about are refused or read, never a fault."""

import hashlib
import json
import struct

import numpy as np
import pytest
from PIL import Image

from processing import goldens

from ..kotlin.metadata import metadata
from ..kotlin.probe import Refused

HUGE = 1 << 62


def golden_file(**changes):
    """A small file of golden vectors whose header has these changes."""
    data = goldens.write({"schema_version": 1}, {"a": np.arange(6, dtype=np.float32).reshape(2, 3)})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["a"] |= changes.pop("a", {})
    header |= changes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


GOLDENS = {
    "empty": b"",
    "short": b"\1\0\0",
    "length beyond the end": struct.pack("<Q", HUGE) + b"{}",
    "length of all bits": b"\xff" * 16,
    "no JSON": struct.pack("<Q", 2) + b"{[",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "no vectors": golden_file(__metadata__={}),
    "vectors are no text": golden_file(__metadata__={"vectors": 3}),
    "vectors are no JSON": golden_file(__metadata__={"vectors": "{"}),
    "vectors are a list": golden_file(__metadata__={"vectors": "[]"}),
    "another version": golden_file(__metadata__={"vectors": '{"schema_version": 2}'}),
    "unknown type": golden_file(a={"dtype": "F8"}),
    "negative side": golden_file(a={"shape": [-2, -3]}),
    "huge shape": golden_file(a={"shape": [HUGE, HUGE]}),
    "shape that wraps round": golden_file(a={"shape": [1 << 32, 1 << 32, 3]}),
    "another shape": golden_file(a={"shape": [2, 4]}),
    "beyond the end": golden_file(a={"data_offsets": [0, 48], "shape": [12]}),
    "backwards": golden_file(a={"data_offsets": [24, 0]}),
    "negative place": golden_file(a={"data_offsets": [-24, 0]}),
    "far away": golden_file(a={"data_offsets": [HUGE, HUGE + 24]}),
    "no places": golden_file(a={"data_offsets": []}),
    "places are text": golden_file(a={"data_offsets": ["0", "24"]}),
}


@pytest.mark.parametrize("fault", GOLDENS)
def test_golden_vectors_that_are_none_are_refused(probe, tmp_path, fault):
    (tmp_path / "file").write_bytes(GOLDENS[fault])
    with pytest.raises(Refused) as refused:
        probe.ask("goldens", file=tmp_path / "file", array="a")
    assert refused.value.code == "golden_vectors_unreadable"


@pytest.mark.parametrize("code", ["u1", "i4", "i8", "f2", "f4", "f8"])
def test_numbers_of_every_type_are_read(probe, tmp_path, code):
    array = np.array([[0, 1, 2.5], [100, 3e-6, 77]]).astype(code)
    (tmp_path / "file").write_bytes(goldens.write({"schema_version": 1}, {"a": array}))
    got = probe.ask("goldens", file=tmp_path / "file", array="a")
    assert got == {"shape": [2, 3], "values": array.astype(np.float32).ravel().tolist()}


def test_halves_that_are_no_numbers_are_none(probe, tmp_path):
    array = np.array([np.inf, -np.inf, np.nan, 6e-8, -65504], np.float16)
    (tmp_path / "file").write_bytes(goldens.write({"schema_version": 1}, {"a": array}))
    assert probe.ask("goldens", file=tmp_path / "file", array="a")["values"] == [None, None, None, *array[3:].tolist()]


def test_files_cut_anywhere_are_refused(probe, tmp_path):
    whole = golden_file()
    for length in range(0, len(whole), 7):
        (tmp_path / "file").write_bytes(whole[:length])
        with pytest.raises(Refused):
            probe.ask("goldens", file=tmp_path / "file", array="a")


def outcome(probe, file):
    """The code of a refusal, or "pixels"."""
    try:
        probe.ask("decode", file=file, exif=True)
    except Refused as refusal:
        return refusal.code
    return "pixels"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "progressive.jpg", "palette.png"])
def test_pictures_cut_or_damaged_anywhere_do_no_harm(probe, tmp_path, name):
    random = np.random.default_rng(len(name))
    picture = Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    picture = picture.quantize(9) if "palette" in name else picture
    picture.save(tmp_path / name, **({"progressive": True} if "progressive" in name else {}))
    whole = (tmp_path / name).read_bytes()
    outcomes = []
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            data = data[: random.integers(0, len(data))]
        for place in random.integers(0, max(len(data), 1), 1 + turn % 4 if data else 0):
            data[place] = random.integers(0, 256)
        (tmp_path / "file").write_bytes(data)
        outcomes.append(outcome(probe, tmp_path / "file"))
    assert set(outcomes) <= {"pixels", "image_unreadable", "image_too_large"}
    assert outcomes.count("image_unreadable") > 20


def test_a_picture_or_an_option_that_means_nothing_is_refused_by_name(probe, written):
    with pytest.raises(Refused, match="pattern"):
        probe.ask("preprocess", metadata=written(metadata()), pattern="dots", height=4, width=4, seed=0)
    with pytest.raises(Refused, match="impossible size"):
        probe.ask("preprocess", metadata=written(metadata()), pattern="noise", height=HUGE, width=HUGE, seed=0)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema_version": 1}', "[" * 100_000, '{"schema_version": 1e999}', "\x00"]
)
def test_metadata_that_is_none_is_refused(probe, tmp_path, text):
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(Refused) as refused:
        probe.ask("metadata", metadata=tmp_path / "metadata.json")
    assert refused.value.code == "metadata_unsupported"


def test_digests_of_files_are_those_of_everybody(probe, tmp_path):
    for size in (0, 1, 55, 56, 63, 64, 65, 1 << 20, (1 << 20) + 57):
        data = np.random.default_rng(size).bytes(size)
        (tmp_path / "file").write_bytes(data)
        assert probe.ask("sha256", file=tmp_path / "file") == hashlib.sha256(data).hexdigest()
