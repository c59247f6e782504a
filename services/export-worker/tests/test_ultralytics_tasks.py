"""Ultralytics' tasks in three generations: what the artefact finds is what the predictor finds, and what cannot be exported is named."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from contracts.errors import Permanent
from contracts.vocabulary import Decoder, Proof, TaskType
from export_worker.loaded import Found, as_tuple
from export_worker.parity.candidate import Candidate
from export_worker.parity.gate import ParityError
from export_worker.parity.pictures import pictures
from export_worker.parity.verify import verify
from processing.goldens import fingerprint
from processing.pipeline import Pipeline

from .exporting import Case, Exported, export, goldens, load, refused, until
from .yolo import CLASSES, checkpoint

pytestmark = pytest.mark.slow
Made = Callable[..., Case]

MATRIX = [
    # model, fused, format, decoder
    ("yolov8n-seg", False, "onnx", Decoder.YOLO_V8_SEGMENT),
    ("yolov8n-obb", False, "onnx", Decoder.YOLO_V8_OBB),
    ("yolo11n-seg", False, "torchscript", Decoder.YOLO_V8_SEGMENT),
    ("yolo11n-cls", False, "onnx", Decoder.PROBABILITIES),
    ("yolo11n-pose", False, "onnx", Decoder.YOLO_V8_POSE),
    ("yolo26n", False, "onnx", Decoder.YOLO_V8),
    ("yolo26n-seg", False, "onnx", Decoder.YOLO_V8_SEGMENT),
    ("yolo26n-pose", False, "torchscript", Decoder.YOLO_V8_POSE),
    ("yolo26n-obb", False, "onnx", Decoder.YOLO_V8_OBB),
    ("yolo26n-seg", True, "onnx", Decoder.YOLO_END2END_SEGMENT),
    ("yolo26n-pose", True, "onnx", Decoder.YOLO_END2END_POSE),
    ("yolo26n-obb", True, "torchscript", Decoder.YOLO_END2END_OBB),
    ("yolov10n", True, "onnx", Decoder.YOLO_END2END),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Checkpoints by name, each made once."""
    folder, known = tmp_path_factory.mktemp("yolo"), {}

    def make(name: str, **more: object) -> Case:
        key = name, *more.items()
        if key not in known:
            known[key] = checkpoint(folder, name, **more)
        return known[key]

    return make


@pytest.mark.parametrize(("name", "fused", "target", "decoder"), MATRIX)
def test_the_artefact_finds_what_the_predictor_finds(
    made: Made, tmp_path: Path, name: str, fused: bool, target: str, decoder: Decoder
):
    found = export(tmp_path, made(name, fused=fused), target)

    parity, post = found.metadata.parity, found.metadata.postprocessing
    edge = sum(each["predictions_on_the_edge"] for each in found.report["inputs"])
    assert parity.proof is Proof.VERIFIED
    assert post.decoder is decoder
    assert post.nms.enabled is decoder.startswith("yolo_v8")
    assert parity.predictions_matched > 100
    assert parity.predictions_matched + edge >= parity.predictions_source
    assert edge < 0.02 * parity.predictions_source
    assert (parity.min_mask_iou is not None) is decoder.endswith("segment")
    assert (parity.max_keypoint_difference_px is not None) is decoder.endswith("pose")
    assert len(found.metadata.output_spec) == 1 + decoder.endswith("segment")
    assert post.keypoint_shape == ((5, 3) if decoder.endswith("pose") else None)
    check_goldens(found, decoder)


FIELD = {"segment": "mask", "pose": "keypoints", "obb": "rotated_box"}


def check_goldens(found: Exported, decoder: Decoder) -> None:
    """The packaged metadata alone turns the packaged outputs into the packaged predictions."""
    pipeline = Pipeline.from_metadata(msgspec.to_builtins(found.metadata))
    everything = []
    for told in goldens(found):
        tensor, geometry = pipeline.preprocess(told.picture)
        assert fingerprint(tensor) == told.tensor
        again = pipeline.postprocess(told.outputs, geometry, confidence=told.confidence)
        assert json.loads(json.dumps([one.as_dict() for one in again])) == told.predictions
        everything += told.predictions
    assert everything
    own = FIELD.get(decoder.rpartition("_")[2])
    assert all({"mask", "keypoints", "rotated_box"} & set(one) == ({own} if own else set()) for one in everything)


def test_points_without_visibility_are_all_visible(made: Made, tmp_path: Path):
    found = export(tmp_path, made("yolo11n-pose", points=(3, 2)), "onnx")

    assert found.metadata.parity.proof is Proof.VERIFIED
    assert found.metadata.postprocessing.keypoint_shape == (3, 2)
    first = goldens(found)[0]
    assert {point[2] for one in first.predictions for point in one["keypoints"]} == {1.0}


def test_height_and_width_can_be_dynamic(made: Made, tmp_path: Path):
    axes = {"input": [0, 2, 3], "output": [0]}
    case = made("yolo26n-seg", fused=True)
    found = export(tmp_path, case, "onnx", {"dynamic_axes": axes, "image_size": [128, 160]})

    assert found.metadata.parity.proof is Proof.VERIFIED
    assert found.metadata.input_spec.shape == (-1, -1, -1, 3)
    assert found.metadata.preprocessing.resize.size == (128, 160)


def test_the_module_answers_as_the_predictor_sees_it(made: Made, tmp_path: Path):
    loaded = load(tmp_path, made("yolo26n-seg", fused=True))

    run = loaded.source(pictures()[1], 0.01, 0.7)
    with torch.inference_mode():
        answers = as_tuple(loaded.module(torch.from_numpy(run.tensor)))

    assert [one.shape for one in answers] == [(1, 189, 38), (1, 32, 24, 24)]
    assert [output.name for output in loaded.outputs] == ["detections", "prototypes"]
    for answer, seen in zip(answers, run.outputs, strict=True):
        assert np.array_equal(answer.numpy(), seen)


def moved_mask(one: Found) -> Found:
    return one._replace(mask=np.roll(one.mask, 1, axis=1))


def swapped_points(one: Found) -> Found:
    return one._replace(keypoints=one.keypoints[[1, 0, 2, 3, 4]])


def turned_box(one: Found) -> Found:
    return one._replace(rotated=(*one.rotated[:4], one.rotated[4] + 0.05))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("yolov8n-seg", moved_mask), ("yolo11n-pose", swapped_points), ("yolov8n-obb", turned_box)],
    ids=["mask", "keypoints", "angle"],
)
def test_a_wrong_way_back_into_the_picture_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[Found], Found]
):
    work = until("convert", tmp_path, made(name, fused=False), "onnx")
    right = Candidate.predict
    monkeypatch.setattr(Candidate, "predict", lambda *given: tuple(spoil(one) for one in right(*given)))

    with pytest.raises(ParityError) as caught:
        verify(work)

    assert "predictions" in caught.value.operator


@pytest.mark.parametrize(
    ("name", "layer", "part"),
    [
        ("yolov8n-seg", "model.22.cv4.0.2", "coefficients"),
        ("yolo11n-pose", "model.23.cv4.1.2", "keypoints"),
    ],
)
def test_a_perturbed_branch_is_named_by_the_part_that_it_answers(
    made: Made, tmp_path: Path, name: str, layer: str, part: str
):
    work = until("convert", tmp_path, made(name, fused=False), "onnx")
    path = work.need_artefact().path
    model = onnx.load(str(path))
    (weight,) = [one for one in model.graph.initializer if one.name == f"model.{layer}.weight"]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.02), weight.name))
    onnx.save(model, str(path))

    with pytest.raises(ParityError) as caught:
        verify(work)

    report = json.loads((tmp_path / "output" / "parity_report.json").read_bytes())
    assert any(part in failure["what"] for failure in report["failures"])
    assert not any("scores" in failure["what"] for failure in report["failures"])
    assert layer in caught.value.operator


def test_another_task_than_the_checkpoints_is_refused(made: Made, tmp_path: Path):
    asked = msgspec.structs.replace(made("yolo11n-pose"), task=TaskType.ORIENTED_DETECTION)

    error = refused(tmp_path, asked)

    assert error.code == "checkpoint_task_mismatch"
    assert "pose_estimation" in error.message
    assert "oriented_detection" in error.message


UNSUPPORTED = [
    # class, Ultralytics' task and name of a model, task of the request, what the refusal must name
    ("YOLOESegModel", "segment", "yoloe-11n-seg", TaskType.INSTANCE_SEGMENTATION, "YOLOESegment head"),
    ("WorldModel", "detect", "yolov8n-worldv2", TaskType.OBJECT_DETECTION, "WorldDetect head"),
    ("RTDETRDetectionModel", "detect", "yolov8n-rtdetr", TaskType.OBJECT_DETECTION, "RTDETRDecoder head"),
    ("DepthModel", "depth", "yolo26n-depth", TaskType.OBJECT_DETECTION, "task depth"),
    ("SemanticSegmentationModel", "semantic", "yolo26n-sem", TaskType.INSTANCE_SEGMENTATION, "task semantic"),
]


@pytest.mark.parametrize(("kind", "word", "name", "task", "words"), UNSUPPORTED)
def test_a_head_that_cannot_be_exported_is_named(
    tmp_path: Path, kind: str, word: str, name: str, task: TaskType, words: str
):
    from ultralytics.nn import tasks

    model = getattr(tasks, kind)(tasks.yaml_model_load(f"{name}.yaml"), verbose=False)
    path = tmp_path / "model.pt"
    torch.save({"model": model, "train_args": {"imgsz": 64, "task": word}}, path)

    error = refused(tmp_path, Case(checkpoint=path, framework="ultralytics", task=task, model=name))

    assert error.code == "unsupported"
    assert words in error.message
    assert (error.hint or "").startswith("What works")


def test_suppression_inside_the_graph_is_for_plain_boxes(made: Made, tmp_path: Path):
    with pytest.raises(Permanent, match=r"export_config\.embed_nms"):
        until("convert", tmp_path, made("yolov8n-seg", fused=False), "onnx", {"embed_nms": True})


def test_the_classes_are_those_of_the_head(made: Made, tmp_path: Path):
    loaded = load(tmp_path, made("yolov8n-obb", fused=False))

    assert len(loaded.classes) == CLASSES
    assert loaded.module(loaded.example).shape[1] == 4 + CLASSES + 1
