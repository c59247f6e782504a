"""Checkpoints to LiteRT, in its own environment: proven equal, described in the file, the same bytes each time."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import Permanent
from contracts.vocabulary import Precision, Proof
from export_worker.sandbox import tflite_guard
from packager import artefact_names
from samples.cache import Sample

from .exporting import Case, Exported
from .litert import PYTHON, export_all, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Samples = Callable[[str], Sample]
Made = dict[str, Exported | Permanent]
PRECISIONS = {
    "timm": Precision.FP32,
    "timm-float": Precision.FP32,
    "timm-half": Precision.FP16,
    "timm-weights": Precision.INT8_WEIGHTS,
    "timm-dynamic": Precision.INT8_DYNAMIC,
    "shapes": Precision.FP32,
}
HEAD_SIZE = {Precision.FP32: 0.9, Precision.FP16: 0.45, Precision.INT8_WEIGHTS: 0.2, Precision.INT8_DYNAMIC: 0.2}
"""Least bytes of the file for each byte of the float32 one: a smaller one has lost weights."""


@pytest.fixture(scope="session")
def made(sample: Samples, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All exports of these tests, in one process."""
    timm, shapes = Case.of(sample("digits-timm")), Case.of(sample("shapes-detector"))
    asked: dict[str, tuple[Case, dict[str, object]]] = {
        "timm": (timm, {}),
        "timm-again": (timm, {}),
        "timm-float": (timm, {"embed_preprocessing": False, "batch_size": 2}),
        "timm-half": (timm, {"quantize": {"method": "weight_only", "dtype": "float16"}}),
        "timm-weights": (timm, {"quantize": {"method": "weight_only", "dtype": "qint8"}}),
        "timm-dynamic": (timm, {"quantization": "dynamic"}),
        "shapes": (shapes, {}),
    }
    return export_all(tmp_path_factory.mktemp("litert"), asked)


def export(made: Made, name: str) -> Exported:
    got = made[name]
    if isinstance(got, Permanent):
        raise got
    return got


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_artefact_predicts_as_its_source(made: Made, name: str):
    got, whole = export(made, name), export(made, "shapes" if name == "shapes" else "timm")

    parity, told = got.metadata.parity, got.metadata.performance
    assert parity.proof is Proof.VERIFIED
    assert parity.inputs == 32
    assert parity.predictions_matched >= 0.9 * parity.predictions_source > 28
    assert all(part.max_abs <= part.max_abs_allowed for part in parity.outputs)
    assert got.metadata.provenance.route == ("torch", "tflite")
    assert got.metadata.graph is not None
    assert got.metadata.graph.operators["CONV_2D"] > 10
    assert (
        0.99 * whole.metadata.graph.parameters
        <= got.metadata.graph.parameters
        <= 1.01 * whole.metadata.graph.parameters
    )
    assert told is not None
    assert told.runtime.startswith("ai-edge-litert 2.")
    share = got.model.stat().st_size / whole.model.stat().st_size
    assert HEAD_SIZE[PRECISIONS[name]] <= share <= HEAD_SIZE[PRECISIONS[name]] + 0.25


def test_batch_and_pixels_are_those_asked_for(made: Made):
    assert export(made, "timm-float").metadata.input_spec.shape == (2, 3, 32, 32)
    assert export(made, "timm").metadata.input_spec.shape == (1, 32, 32, 3)
    assert export(made, "timm").metadata.input_spec.dtype == "uint8"


def test_the_same_request_gives_the_same_bytes(made: Made):
    assert export(made, "timm").model.read_bytes() == export(made, "timm-again").model.read_bytes()


@pytest.mark.parametrize("name", ["timm", "timm-half", "shapes"])
def test_the_file_describes_itself_and_passes_the_guard(made: Made, name: str):
    got = export(made, name)

    tflite_guard.check(got.model)
    with zipfile.ZipFile(got.model) as archive:
        labels = archive.read("labels.txt").decode().splitlines()
        told = json.loads(archive.read("modelport.json"))
    assert labels == [entry.name for entry in got.metadata.classes]
    artefact_names.check(got.metadata, {"model.tflite": got.model})
    claims = artefact_names.claims(got.metadata.model_info.export_format, {"model.tflite": got.model})
    assert set(claims) == {"modelport.names", "metadata.json", "labels.txt"}
    assert told["modelport.checkpoint_sha256"] == got.metadata.provenance.checkpoint_sha256
    assert told["modelport.task"] == got.metadata.model_info.task_type
    assert float(told["modelport.confidence_threshold"]) == got.metadata.postprocessing.nms.confidence_threshold
    content = got.model.read_bytes()
    assert b"TFLITE_METADATA" in content
    assert b"M001" in content
    assert str(Path.home()).encode() not in content
    assert str(PYTHON.parents[1]).encode() not in content


@pytest.fixture(scope="session")
def probed() -> dict[str, object]:
    done = run(str(Path(__file__).with_name("litert_probes.py")))
    assert done.returncode == 0, done.stderr[-4000:]
    answers: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_a_failing_operator_is_named_with_its_module(probed: dict[str, object]):
    assert probed["lacking"] == ["unsupported_operator", "aten.histc (counts.deep)"]
    assert probed["untraceable"] == "conversion_failed"


def test_float64_is_computed_where_it_is_constant_and_narrowed_where_not(probed: dict[str, object]):
    assert probed["float64"] == {"narrowed": True, "difference": pytest.approx(0, abs=1e-5)}


def test_outputs_keep_their_names_and_order(probed: dict[str, object]):
    assert probed["outputs"] == [[1, 4, 6, 6], [1, 4]]


def test_a_sound_file_has_no_layer_that_differs(probed: dict[str, object]):
    assert probed["compared"] >= 5
    assert probed["sound"] is None


def test_the_layer_with_a_fault_is_the_first_that_differs(probed: dict[str, object]):
    assert probed["faults"] == {"first.conv": "first.norm", "second": "second"}


def test_the_list_of_operators_is_that_of_the_installed_release(probed: dict[str, object]):
    assert probed["operators"] == []
