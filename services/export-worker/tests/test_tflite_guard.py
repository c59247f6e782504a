"""Bytes of an enemy where a LiteRT file should be."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import flatbuffers
import pytest

from contracts.errors import Permanent
from export_worker.sandbox import tflite_guard

CONV, WHILE, CUSTOM, STABLEHLO_ADD = 3, 119, 32, 163


def table(builder: flatbuffers.Builder, **fields: tuple[int, str, Any]) -> int:
    """A table of name = (slot, kind of the builder's Prepend…Slot, value)."""
    builder.StartObject(12)
    for slot, kind, value in fields.values():
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return int(builder.EndObject())


def vector(builder: flatbuffers.Builder, values: list[int], kind: str = "UOffsetTRelative") -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        getattr(builder, f"Prepend{kind}")(value)
    return int(builder.EndVector())


def model(
    *,
    operator: int = CONV,
    custom: bool = False,
    shape: tuple[int, ...] = (2, 2),
    held: int = 16,
    graphs: int = 1,
    outside: int = 0,
    given: int = 0,
    version: int = 3,
) -> bytes:
    """One operator from one constant of `held` bytes to itself."""
    b = flatbuffers.Builder(1024)
    offset = "UOffsetTRelative"
    name = b.CreateString("FlexAdd")
    code = {"number": (3, "Int32", operator)} | ({"custom": (1, offset, name)} if custom else {})
    codes = vector(b, [table(b, **code)])
    data = b.CreateByteVector(bytes(held))
    buffers = vector(b, [table(b), table(b, data=(0, offset, data), outside=(1, "Uint64", outside))])
    sizes = vector(b, list(shape), "Int32")
    tensors = vector(b, [table(b, shape=(0, offset, sizes), buffer=(2, "Uint32", 1))])
    inputs = vector(b, [given], "Int32")
    operators = vector(b, [table(b, inputs=(1, offset, inputs), outputs=(2, offset, inputs))])
    graph = table(b, tensors=(0, offset, tensors), operators=(3, offset, operators))
    root = table(
        b,
        version=(0, "Uint32", version),
        codes=(1, offset, codes),
        graphs=(2, offset, vector(b, [graph] * graphs)),
        buffers=(4, offset, buffers),
    )
    b.Finish(root, file_identifier=b"TFL3")
    return bytes(b.Output())


def check(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    tflite_guard.check(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(Permanent) as caught:
        check(tmp_path, content)
    assert caught.value.code == "conversion_failed"
    return caught.value.message


def test_a_plain_model_passes_with_an_archive_behind_it(tmp_path: Path):
    check(tmp_path, model())
    check(tmp_path, model() + b"PK\x05\x06" + bytes(18))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (model(operator=CUSTOM), "custom operators"),
        (model(custom=True), "custom operators"),
        (model(operator=1000), "custom operators"),
        (model(operator=WHILE), "run graphs"),
        (model(operator=STABLEHLO_ADD), "StableHLO"),
        (model(graphs=2), "2 graphs"),
        (model(outside=4096), "outside the flatbuffer"),
        (model(held=12), "more or less than its bytes"),
        (model(shape=(1 << 16, 1 << 16)), "elements"),
        (model(shape=(-1, 4)), "shape"),
        (model(shape=(1,) * 9), "shape"),
        (model(given=7), "not a LiteRT file"),
        (model(version=2), "version"),
        (b"", "not a LiteRT file"),
        (b"TFL3" * 8, "not a LiteRT file"),
        (bytes(4) + b"TFL3" + b"\xff" * 64, "version"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_could_harm_is_refused_by_name(tmp_path: Path, content: bytes, reason: str):
    assert reason in refusal(tmp_path, content)


def test_no_truncation_and_no_flipped_byte_gets_further_than_a_refusal(tmp_path: Path):
    whole = model()
    spoilt = [whole[:size] for size in range(len(whole))]
    spoilt += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(len(whole))]
    for content in spoilt:
        with suppress(Permanent):
            check(tmp_path, content)
