"""Whole exports to Core ML: evaluated, described, the same bytes each time, and refused where something is wrong."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from msgspec import structs

from contracts.errors import Permanent
from contracts.vocabulary import Framework, Precision, Proof
from export_worker.formats import coreml_package
from export_worker.loaded import Work
from export_worker.parity.divergence import Recorder
from export_worker.parity.gate import ParityError
from export_worker.parity.verify import verify
from export_worker.runtimes.coreml.layers import layers
from export_worker.runtimes.coreml.program import Program
from export_worker.runtimes.coreml.toolchain import ct

from .exporting import ARCHITECTURE, Case, case, export, job_folder, randomise, until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
WEIGHT_ONLY = {"quantization": {"method": "weight_only", "dtype": "qint8"}}
FP32 = {"precision": "fp32"}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("timm") / "classifier.pth"
    torch.save(randomise(timm.create_model(ARCHITECTURE, num_classes=5)).state_dict(), path)
    return case(path, Framework.TIMM, config={"input_size": [3, 64, 64]}, classes=("a", "b", "c", "d", "e"))


@pytest.fixture(scope="module")
def converted(classifier: Case, tmp_path_factory: pytest.TempPathFactory) -> Work:
    return until("convert", tmp_path_factory.mktemp("converted"), classifier, "coreml", FP32)


def specification(path: Path, folder: Path) -> object:
    return ct.models.utils.load_spec(str(coreml_package.unpack(path, folder)))


def test_pixels_go_in_as_a_picture_and_the_package_tells_what_it_is(classifier: Case, tmp_path: Path):
    options = {**FP32, "minimum_deployment_target": "iOS17", "compute_units": "cpu_and_ne"}
    made = export(tmp_path, classifier, "coreml", options)

    assert made.metadata.parity.proof is Proof.EVALUATED
    assert made.report["proof"] == "evaluated"
    assert "reference evaluator" in str(made.report["runtime"])
    assert made.metadata.input_spec.shape == (1, 64, 64, 3)
    assert made.metadata.input_spec.dtype == "uint8"
    assert made.metadata.provenance.route == ("torch", "coreml")
    told = specification(made.model, tmp_path)
    assert told.specificationVersion == 8
    given = told.description.input[0]
    assert given.name == "images"
    assert given.type.imageType.width == given.type.imageType.height == 64
    assert given.type.imageType.colorSpace == given.type.imageType.RGB
    assert [output.name for output in told.description.output] == ["logits"]
    own = dict(told.description.metadata.userDefined)
    assert json.loads(own["modelport.names"])["4"] == "e"
    assert own["modelport.checkpoint_sha256"] == hashlib.sha256(classifier.checkpoint.read_bytes()).hexdigest()
    assert own["modelport.compute_units"] == "cpu_and_ne"
    assert not any("date" in key for key in own)
    assert told.description.metadata.shortDescription


@pytest.mark.parametrize(
    ("options", "optimization", "expected"),
    [({}, None, Precision.FP16), ({"minimum_deployment_target": "iOS18"}, WEIGHT_ONLY, Precision.INT8_WEIGHTS)],
)
def test_less_than_float32_is_smaller_and_evaluated_too(
    classifier: Case, converted: Work, tmp_path: Path, options: dict[str, object], optimization: object, expected: str
):
    made = export(tmp_path, classifier, "coreml", options, optimization)

    assert made.metadata.precision is expected
    assert made.metadata.parity.proof is Proof.EVALUATED
    share = made.model.stat().st_size / converted.need_artefact().path.stat().st_size
    assert share < (0.3 if expected is Precision.INT8_WEIGHTS else 0.52)


def test_a_batch_takes_tensors_and_no_pictures(classifier: Case, tmp_path: Path):
    made = export(tmp_path, classifier, "coreml", {**FP32, "batch_size": 2})

    assert made.metadata.input_spec.shape == (2, 3, 64, 64)
    assert made.metadata.parity.proof is Proof.EVALUATED
    with pytest.raises(Permanent, match=r"export_config\.embed_preprocessing"):
        export(tmp_path / "no", classifier, "coreml", {**FP32, "batch_size": 2, "embed_preprocessing": True})


def test_int8_weights_need_ios16(classifier: Case, tmp_path: Path):
    with pytest.raises(Permanent, match=r"export_config\.minimum_deployment_target"):
        export(tmp_path, classifier, "coreml", {"minimum_deployment_target": "iOS15"}, WEIGHT_ONLY)


def test_the_same_export_gives_the_same_bytes_in_every_process(classifier: Case, converted: Work, tmp_path: Path):
    folder = job_folder(tmp_path, classifier, "coreml", FP32)

    subprocess.run([sys.executable, "-m", "export_worker.child"], cwd=folder, check=True, capture_output=True)

    stored = folder / "output" / "model.mlpackage.zip"
    assert stored.read_bytes() == converted.need_artefact().path.read_bytes()
    with zipfile.ZipFile(stored) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def spoilt(work: Work, folder: Path, offset: int, junk: bytes) -> Work:
    """`work` whose weight file differs at `offset` (from its end where negative)."""
    package = coreml_package.unpack(work.need_artefact().path, folder)
    weights = package / coreml_package.WEIGHTS
    body = bytearray(weights.read_bytes())
    at = offset % len(body)
    body[at : at + len(junk)] = junk
    weights.write_bytes(bytes(body))
    (folder / "output").mkdir()
    target = folder / "output" / work.need_artefact().path.name
    coreml_package.write(target, package)
    return structs.replace(work, folder=folder, artefact=structs.replace(work.need_artefact(), path=target))


def test_the_gate_catches_a_corrupted_weight(converted: Work, tmp_path: Path):
    weight = np.full(2048, 3.0, np.float32).tobytes()

    with pytest.raises(ParityError) as refused:
        verify(spoilt(converted, tmp_path, 1 << 20, weight))

    assert refused.value.code == "parity_failed"
    assert refused.value.operator.startswith("model.layer")


def test_a_weight_file_that_is_none_is_refused(converted: Work, tmp_path: Path):
    with pytest.raises(Permanent, match="cannot be read") as refused:
        verify(spoilt(converted, tmp_path, 0, b"\xff" * 4096))

    assert refused.value.code == "conversion_failed"


def test_layers_of_the_program_lead_back_to_modules(converted: Work):
    artefact = converted.need_artefact()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    source = Recorder(artefact.graph).run(pixels)

    pairs = list(layers(artefact, pixels, source))

    named = {pair.layer for pair in pairs}
    assert {"model.layer1.0.bn1", "model.layer4.0.act2"} <= named
    assert len(pairs) >= len(source) // 2
    same = [pair for pair in pairs if pair.expected.shape == pair.measured.shape]
    assert len(same) == len(pairs)
    for pair in same:
        limit = 1e-4 * max(np.abs(pair.expected).max(), 1e-2)
        assert np.abs(pair.expected - pair.measured).max() <= limit, pair.layer


def test_an_operator_that_the_evaluator_lacks_is_named(tmp_path: Path):
    mb = ct.converters.mil.Builder

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
    def program(x: object) -> object:
        return mb.random_normal(shape=np.array([1, 4], np.int32), name="noise")

    ct.convert(program, convert_to="mlprogram", skip_model_load=True).save(str(tmp_path / "x.mlpackage"))

    with pytest.raises(Permanent, match="lacks the operator random_normal") as refused:
        Program(tmp_path / "x.mlpackage")
    assert refused.value.code == "unsupported_operator"
