"""metadata.json comes from a run whose code nobody trusts: every number, list and name in it is bounded."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from contracts.model_package import ModelMetadata

GOLDEN = Path(__file__).parent / "golden/export.models.exported.v1.json"
TENSOR = {"name": "x", "shape": [1], "dtype": "float32", "format": "[batch]"}

HOSTILE: tuple[tuple[Sequence[str | int], object], ...] = (
    (("preprocessing", "resize", "size"), [1_000_000, 1_000_000]),
    (("preprocessing", "resize", "resize_to"), [10**9, 10**9]),
    (("preprocessing", "resize", "stride"), 10**40),
    (("preprocessing", "normalize", "scale"), 1e300),
    (("preprocessing", "normalize", "mean"), [0, 0, -1e300]),
    (("postprocessing", "top_k"), 10**9),
    (("postprocessing", "nms", "max_detections"), 10**9),
    (("input_spec", "shape"), [1] * 100_000),
    (("input_spec", "shape"), [1, 3, 10**30, 10**30]),
    (("input_spec", "shape"), [-2]),
    (("input_spec", "name"), "x" * 100_000),
    (("input_spec", "name"), "images\u0000"),
    (("input_spec", "dtype"), 'float32" } parameters { key: "x'),
    (("output_spec",), {str(number): TENSOR for number in range(1000)}),
    (("output_spec",), {}),
    (("output_spec",), {"\u001b[2J": TENSOR}),
    (("classes",), [{"id": number, "name": "c"} for number in range(100_000)]),
    (("classes",), [{"id": 0, "name": "\u001b]0;owned\u0007"}]),
    (("classes",), [{"id": 0, "name": "safe\u202etxt.exe"}]),
    (("classes",), [{"id": 10**30, "name": "c"}]),
    (("model_info", "model_name"), "resnet\u0000"),
    (("model_info", "model_name"), "resnet18\n"),
    (("input_spec", "dtype"), "float32\n"),
    (("provenance", "checkpoint_sha256"), "0" * 64 + "\n"),
    (("parity", "inputs"), 10**30),
    (("provenance", "toolchain"), {"\u001b[31mtorch": "2"}),
    (("provenance", "toolchain"), {str(number): "1" for number in range(1000)}),
    (("sizes", "original_size_bytes"), 10**30),
    (("performance", "hardware"), "x" * 10_000),
)


def changed(path: Sequence[str | int], value: object) -> bytes:
    metadata = json.loads(GOLDEN.read_text())["metadata"]
    part = metadata
    for name in path[:-1]:
        part = part[name]
    assert path[-1] in part
    part[path[-1]] = value
    return json.dumps(metadata).encode()


def test_the_pattern_itself_is_read() -> None:
    assert msgspec.json.decode(changed(("postprocessing", "top_k"), 10), type=ModelMetadata).postprocessing.top_k == 10


@pytest.mark.parametrize(
    ("path", "value"), HOSTILE, ids=[f"{'.'.join(map(str, p))}-{i}" for i, (p, _) in enumerate(HOSTILE)]
)
def test_what_is_out_of_bounds_is_refused(path: Sequence[str | int], value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(changed(path, value), type=ModelMetadata)


def test_names_of_the_world_are_fine() -> None:
    names = ["Äpfel", "犬", "🦊", "tench, Tinca tinca", 'quote " and \\', "a|b<i>"]
    classes = [{"id": number, "name": name} for number, name in enumerate(names)]
    read = msgspec.json.decode(changed(("classes",), classes), type=ModelMetadata)
    assert [one.name for one in read.classes] == names
