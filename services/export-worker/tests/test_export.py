"""Every framework to both formats, with every option, proven equal to its source."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import export_worker
from contracts.errors import Permanent
from contracts.keys import GOLDENS
from contracts.vocabulary import Decoder, Framework, Proof, TaskType
from processing.goldens import fingerprint
from processing.pipeline import Pipeline
from samples.cache import Sample

from .exporting import Case, Exported, export, goldens, job_folder, randomise, until

pytestmark = pytest.mark.slow
Samples = Callable[[str], Sample]
NAMES = ("shapes-detector", "digits-ultralytics", "digits-timm", "digits-huggingface")


@pytest.fixture
def case(sample: Samples) -> Callable[[str], Case]:
    return lambda name: Case.of(sample(name))


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize("name", NAMES)
def test_the_artefact_predicts_as_its_source(
    case: Callable[[str], Case], tmp_path: Path, name: str, target: str, embed: bool
):
    made = export(tmp_path, case(name), target, {"embed_preprocessing": embed})

    parity = made.metadata.parity
    assert parity.proof is Proof.VERIFIED
    assert parity.inputs == 32
    assert parity.non_square_inputs == 16
    assert parity.predictions_source == parity.predictions_matched > 32
    assert all(part.max_abs <= part.max_abs_allowed for part in parity.outputs)
    assert made.metadata.preprocessing.normalize.embedded is embed
    assert made.metadata.input_spec.dtype == ("uint8" if embed else "float32")
    assert [entry.name for entry in made.metadata.classes] == list(case(name).classes or ())
    assert made.lines[-1]["type"] == "done"
    assert {line["stage"] for line in made.lines[:-1]} == {"load", "convert", "verify"}
    assert len(made.report["inputs"]) == 32
    assert made.metadata.graph is not None
    assert made.metadata.graph.parameters > 10_000
    assert sum(made.metadata.graph.operators.values()) > 30


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_suppression_in_the_graph_finds_what_suppression_outside_finds(
    case: Callable[[str], Case], tmp_path: Path, target: str
):
    inside = export(tmp_path / "in", case("shapes-detector"), target, {"embed_nms": True})
    outside = export(tmp_path / "out", case("shapes-detector"), target)

    assert inside.metadata.postprocessing.decoder is Decoder.YOLO_END2END
    assert inside.metadata.postprocessing.nms.embedded
    assert inside.metadata.output_spec["detections"].shape[2] == 6
    assert inside.metadata.parity.predictions_matched == outside.metadata.parity.predictions_matched
    for confidence in (0.05, 0.25, 0.6):
        assert _found(inside, confidence) == _found(outside, confidence)


def _found(made: Exported, confidence: float) -> list[list[tuple[int, float, tuple[float, ...]]]]:
    """Predictions of the golden pictures at a threshold, rounded for comparison."""
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(made.metadata))
    answers = []
    for told in goldens(made):
        _, geometry = pipeline.preprocess(told.picture)
        found = pipeline.postprocess(told.outputs, geometry, confidence=confidence)
        answers.append([(p.class_id, round(p.confidence, 3), tuple(round(v, 1) for v in p.bbox or ())) for p in found])
    return answers


@pytest.mark.parametrize("opset", [13, 14, 15, 16, 17, 18, 19, 20])
def test_the_opset_is_the_one_asked_for(case: Callable[[str], Case], tmp_path: Path, opset: int):
    made = export(tmp_path, case("digits-huggingface"), "onnx", {"opset_version": opset})

    model = onnx.load(str(made.model))
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    assert model.ir_version <= 10
    assert made.metadata.parity.proof is Proof.VERIFIED


def test_height_and_width_can_be_dynamic(case: Callable[[str], Case], tmp_path: Path):
    axes = {"input": [0, 2, 3], "output": [0, 2]}
    made = export(tmp_path, case("shapes-detector"), "onnx", {"dynamic_axes": axes})

    assert made.metadata.input_spec.shape == (-1, -1, -1, 3)
    assert made.metadata.output_spec["output0"].shape == (-1, 7, -1)
    session = onnxruntime.InferenceSession(str(made.model), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": np.zeros((2, 64, 96, 3), np.uint8)})
    assert output.shape == (2, 7, 8 * 12 + 4 * 6 + 2 * 3)


def test_no_dynamic_axes_fix_every_dimension(case: Callable[[str], Case], tmp_path: Path):
    options = {"dynamic_axes": {}, "batch_size": 4, "image_size": [96, 128], "embed_preprocessing": False}
    made = export(tmp_path, case("shapes-detector"), "onnx", options)

    assert made.metadata.input_spec.shape == (4, 3, 96, 128)
    assert made.metadata.output_spec["output0"].shape == (4, 7, 252)
    assert made.metadata.preprocessing.resize.size == (96, 128)


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("digits-huggingface", {"dynamic_axes": {"input": [0, 2, 3]}}, "dynamic_axes.input"),
        ("digits-huggingface", {"image_size": [64, 64]}, "image_size"),
        ("shapes-detector", {"image_size": [100, 96]}, "image_size"),
        ("shapes-detector", {"dynamic_axes": {"input": [1]}}, "dynamic_axes.input"),
        ("shapes-detector", {"dynamic_axes": {"input": [0], "output": [0, 2]}}, "dynamic_axes.output"),
        ("shapes-detector", {"dynamic_axes": {"images": [0]}}, "dynamic_axes.images"),
        ("shapes-detector", {"dynamic_axes": {"input": [2, 3]}, "embed_nms": True}, "embed_nms"),
    ],
)
def test_an_option_that_this_model_cannot_have_is_refused_by_name(
    case: Callable[[str], Case], tmp_path: Path, name: str, options: dict[str, object], field: str
):
    with pytest.raises(Permanent, match=re.escape(f"export_config.{field}")) as refused:
        export(tmp_path, case(name), "onnx", options)

    assert refused.value.code == "unsupported"
    assert "What works" in refused.value.hint or field == "embed_nms"


def test_a_model_that_cannot_be_scripted_is_refused_by_name(case: Callable[[str], Case], tmp_path: Path):
    with pytest.raises(Permanent, match=r"export_config\.method"):
        export(tmp_path, case("shapes-detector"), "torchscript", {"method": "script"})


def test_a_model_that_can_be_scripted_is(case: Callable[[str], Case], tmp_path: Path):
    made = export(tmp_path, case("digits-timm"), "torchscript", {"method": "script"})

    assert made.metadata.parity.proof is Proof.VERIFIED
    assert torch.jit.load(str(made.model)).code


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
@pytest.mark.parametrize("name", ["shapes-detector", "digits-timm"])
def test_the_same_export_twice_gives_the_same_bytes(
    case: Callable[[str], Case], tmp_path: Path, name: str, target: str
):
    """In processes of their own, as jobs are: torch numbers the classes of TorchScript programs through a process."""
    runs = [job_folder(tmp_path / run, case(name), target) for run in "ab"]
    for folder in runs:
        subprocess.run([sys.executable, "-m", "export_worker.child"], cwd=folder, check=True, capture_output=True)

    for made in (GOLDENS, f"model.{target}"):
        first, second = ((folder / "output" / made).read_bytes() for folder in runs)
        assert first == second


def test_torchscript_names_no_file_of_this_machine(case: Callable[[str], Case], tmp_path: Path):
    made = export(tmp_path, case("shapes-detector"), "torchscript")

    with zipfile.ZipFile(made.model) as archive:
        bodies = [archive.read(name) for name in archive.namelist()]
    paths = [str(Path(place).parent).encode() for place in (torch.__file__, export_worker.__file__)]
    assert not any(path in body for path in paths for body in bodies)


def test_torchscript_says_what_it_is(case: Callable[[str], Case], tmp_path: Path):
    made = export(tmp_path, case("digits-timm"), "torchscript")

    told = {"modelport.json": ""}
    torch.jit.load(str(made.model), _extra_files=told)
    own = json.loads(told["modelport.json"])
    assert own["modelport.task"] == "image_classification"
    assert own["modelport.checkpoint_sha256"] == made.metadata.provenance.checkpoint_sha256
    assert len(json.loads(own["modelport.names"])) == 10


def test_golden_vectors_can_be_replayed(case: Callable[[str], Case], tmp_path: Path):
    made = export(tmp_path, case("shapes-detector"), "onnx")

    pipeline = Pipeline.from_metadata(msgspec.to_builtins(made.metadata))
    session = onnxruntime.InferenceSession(str(made.model), providers=["CPUExecutionProvider"])
    replays, found = goldens(made), 0
    for told in replays:
        tensor, geometry = pipeline.preprocess(told.picture)
        assert fingerprint(tensor) == told.tensor
        (output,) = session.run(None, {"images": tensor})
        np.testing.assert_allclose(output, told.outputs["output0"], atol=1e-3)
        again = pipeline.postprocess({"output0": output}, geometry, confidence=told.confidence)
        assert [p.class_id for p in again] == [p["class_id"] for p in told.predictions]
        found += len(again)
    assert found > 0
    assert [told.picture.shape[0] != told.picture.shape[1] for told in replays].count(True) == 3


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_a_model_of_two_heads_predicts_by_the_one_that_its_trainer_takes(tmp_path: Path, target: str):
    made = export(
        tmp_path, _yolo(tmp_path, "yolo26n.yaml", TaskType.OBJECT_DETECTION), target, {"image_size": [96, 96]}
    )

    assert made.metadata.postprocessing.decoder is Decoder.YOLO_V8
    assert made.metadata.postprocessing.nms.enabled
    assert made.metadata.parity.predictions_source > 0


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_a_head_without_suppression_is_exported_as_such(tmp_path: Path, target: str):
    case = _yolo(tmp_path, "yolo26n.yaml", TaskType.OBJECT_DETECTION, one_to_one=True)
    made = export(tmp_path, case, target, {"image_size": [96, 96]})

    assert made.metadata.postprocessing.decoder is Decoder.YOLO_END2END
    assert not made.metadata.postprocessing.nms.enabled
    assert made.metadata.parity.predictions_source > 0


def _yolo(folder: Path, name: str, task: TaskType, *, one_to_one: bool = False) -> Case:
    from ultralytics import YOLO

    made = YOLO(name)
    randomise(made.model)
    heads = made.model.model[-1]
    for branch in (getattr(heads, "cv3", None), getattr(heads, "one2one_cv3", None)):
        for layer in branch or ():
            layer[-1].bias.data.normal_(-3, 1)
            layer[-1].weight.data.mul_(4)
    if one_to_one:
        heads.end2end = True
        made.model.fuse(verbose=False)
    checkpoint = folder / f"{Path(name).stem}.pt"
    made.save(checkpoint)
    return Case(checkpoint=checkpoint, framework=Framework.ULTRALYTICS, task=task, model=Path(name).stem)


@pytest.mark.parametrize("embed_nms", [True, False])
def test_boxes_that_tie_do_not_refuse_a_good_artefact(tmp_path: Path, embed_nms: bool):
    """Random weights give hundreds of boxes of almost one score; which of them suppresses which is rounding."""
    options = {"image_size": [96, 128], "embed_nms": embed_nms}
    made = export(tmp_path, _yolo(tmp_path, "yolov8n.yaml", TaskType.OBJECT_DETECTION), "onnx", options)

    assert made.metadata.parity.proof is Proof.VERIFIED
    assert made.metadata.parity.predictions_source > 100


def test_the_checkpoint_names_its_classes_unless_the_request_does(tmp_path: Path):
    case = _yolo(tmp_path, "yolov8n.yaml", TaskType.OBJECT_DETECTION)

    work = until("load", tmp_path / "job", case, "onnx")

    assert len(work.need_loaded().classes) == 80
