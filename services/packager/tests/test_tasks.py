"""Packages of a model with two outputs and masks, in three formats, run by nothing but their own files."""

import importlib
import json
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import packager
from contracts import keys
from contracts.vocabulary import ExportFormat, Precision
from packager import readme

from .segmenter import make_segmenter
from .test_runtime import Unpacked

FORMATS = [ExportFormat.ONNX, ExportFormat.OPENVINO, ExportFormat.TORCHSCRIPT]


@pytest.fixture
def verify(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(packager.__file__).parent / "runtimes" / "python"))
    return importlib.import_module("verify")


def allowed(verify):
    return verify.Tolerance(2e-3, 0.5, 0.02)


@pytest.mark.parametrize("export_format", FORMATS)
async def test_a_package_of_masks_verifies_itself(export_format, assemble, tmp_path):
    artefact = make_segmenter(tmp_path, export_format)
    package = await assemble(artefact)
    unpacked = Unpacked(tmp_path, package.zip, everything=True)
    done = unpacked.python("runtimes/python/verify.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass  model picture 0" in done.stdout
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(60, 256, (40, 90, 3), dtype=np.uint8)).save(picture)
    done = unpacked.python("runtimes/python/example.py", str(picture))
    assert done.returncode == 0, done.stderr
    (first,) = json.loads(done.stdout)  # the other box lies where the mask is empty
    assert set(first) == {"class_id", "class_name", "confidence", "bbox", "mask"}
    assert first["mask"]["size"] == [40, 90]
    assert sum(first["mask"]["counts"]) == 3600
    assert 0 < sum(first["mask"]["counts"][1::2]) < 3600


async def test_a_stored_zip_lies_unpacked_in_the_package_and_whole_beside_it(assemble, tmp_path):
    artefact = make_segmenter(tmp_path, ExportFormat.OPENVINO)
    package = await assemble(artefact)
    with zipfile.ZipFile(package.zip) as archive:
        names = archive.namelist()
    assert {"model.xml", "model.bin"} <= set(names)
    assert keys.MODEL_FILES[ExportFormat.OPENVINO] not in names
    assert set(package.beside) == {keys.LOG, keys.MODEL_FILES[ExportFormat.OPENVINO]}
    assert {"model.xml", "model.bin"} <= {entry.path for entry in package.metadata.files}
    again = await assemble(artefact)
    assert again.metadata.files == package.metadata.files


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, True),
        ({"confidence": 0.72}, False),
        ({"bbox": [0, 0, 10, 11]}, False),
        ({"mask": {"size": [10, 10], "counts": [0, 70, 30]}}, False),
        ({"mask": {"size": [10, 10], "counts": [0, 99, 1]}}, True),
        ({"keypoints": [[1, 2, 0.5], [3, 5, 0.5]]}, False),
        ({"keypoints": [[1.1, 2, 0.1], [3, 4, 0.5]]}, True),
        ({"class_name": "c"}, False),
        ({"rotated_box": [5, 7, 10, 10, 0]}, False),
        ({"rotated_box": [5, 5, 10, 10, 1.5708]}, True),
    ],
)
def test_verify_compares_all_that_a_prediction_has(verify, changes, passes):
    wanted = {"class_id": 1, "class_name": "b", "confidence": 0.7, "bbox": [0, 0, 10, 10]}
    fields = {
        "mask": {"size": [10, 10], "counts": [0, 100]},
        "keypoints": [[1, 2, 0.5], [3, 4, 0.5]],
        "rotated_box": [5, 5, 10, 10, 0],
    }
    wanted |= {name: value for name, value in fields.items() if name in changes}
    assert verify.compare([wanted | changes], [wanted], 0.25, allowed(verify))[0] == passes


def test_verify_lets_specks_go_and_does_not_hang_on_the_boxes_of_regions(verify):
    whole = {
        "class_id": 0,
        "class_name": "a",
        "confidence": 0.9,
        "bbox": [0, 0, 100, 100],
        "mask": {"size": [100, 100], "counts": [0, 10000]},
    }
    speck = {
        "class_id": 1,
        "class_name": "b",
        "confidence": 0.9,
        "bbox": [0, 0, 1, 5],
        "mask": {"size": [100, 100], "counts": [0, 5, 9995]},
    }
    assert verify.compare([whole], [whole, speck], None, allowed(verify))[0]
    moved = whole | {"bbox": [0, 0, 100, 90]}
    assert not verify.compare([moved], [whole], None, allowed(verify))[0]
    assert verify.compare([moved], [whole], None, allowed(verify), boxes=False)[0]


def test_rows_of_a_set_may_change_places(verify):
    rng = np.random.default_rng(0)
    logits, boxes = rng.normal(size=(1, 20, 3)), rng.random((1, 20, 4))
    order = rng.permutation(20)
    assert verify.set_difference([logits[:, order], boxes[:, order]], [logits, boxes]) == 0
    assert verify.set_difference([logits[:, order], boxes], [logits, boxes]) > 0.1
    assert verify.set_difference([logits[:, :19], boxes[:, :19]], [logits, boxes]) == float("inf")


def test_the_readme_tells_outputs_masks_precision_and_route(tmp_path):
    replace = msgspec.structs.replace
    metadata = make_segmenter(tmp_path, ExportFormat.OPENVINO).metadata
    made = replace(metadata.provenance, route=("torch", "onnx", "openvino"), rewrites=("no_new_ones",))
    text = readme.render(replace(metadata, precision=Precision.FP16, provenance=made))
    for part in (
        "| output1 |",
        "`mask`",
        "float16 weights",
        "`torch` → `onnx` → `openvino`",
        "no\\_new\\_ones",
        "model.bin",
    ):
        assert part in text
