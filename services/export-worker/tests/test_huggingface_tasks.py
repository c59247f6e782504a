"""Hugging Face models that find objects and segment pictures: loaded, exported, held to their own processor; the rest is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from contracts.vocabulary import Decoder, Framework, TaskType
from export_worker.parity.ties import near_ties
from export_worker.rewrites.pooling import averages

from .exporting import Case, case, export, load, refused
from .huggingface_models import packed
from .test_huggingface import Folder

DETECTORS = {
    "detr": Decoder.DETR_SOFTMAX,
    "conditional_detr": Decoder.DETR_SIGMOID,
    "rt_detr": Decoder.DETR_SIGMOID,
    "yolos": Decoder.DETR_SOFTMAX,
}
Models = Callable[[str], Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root, made = tmp_path_factory.mktemp("huggingface"), {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = packed(name, root)
        return made[name]

    return get


def given(path: Path, name: str) -> Case:
    task = TaskType.OBJECT_DETECTION if name in DETECTORS else TaskType.SEMANTIC_SEGMENTATION
    return case(path, Framework.HUGGINGFACE, task, name)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_decoder_follows_from_its_processor(models: Models, tmp_path: Path, name: str):
    loaded = load(tmp_path / "job", given(models(name), name))

    post = loaded.postprocessing
    assert post.decoder is DETECTORS[name]
    assert (post.nms.confidence_threshold, post.nms.max_detections) == (0.5, 12)
    assert [output.name for output in loaded.outputs] == ["logits", "boxes"]


@pytest.mark.parametrize(("name", "size"), [("detr", (96, 96)), ("conditional_detr", (96, 96)), ("yolos", (80, 80))])
def test_one_input_size_is_settled_and_told(models: Models, tmp_path: Path, name: str, size: tuple[int, int]):
    loaded = load(tmp_path / "job", given(models(name), name))

    assert (loaded.preprocessing.resize.method, loaded.preprocessing.resize.size) == ("stretch", size)
    assert f"stretched to {size[0]}x{size[1]}" in loaded.note


def test_flipped_colours_are_told(models: Models, tmp_path: Path):
    loaded = load(tmp_path / "job", given(models("mobilevit"), "mobilevit"))

    assert loaded.preprocessing.format.color_space == "BGR"
    assert "cuts the centre" in loaded.note


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rt_detr", "segformer", "upernet"])
def test_the_exported_file_finds_what_the_processor_finds(models: Models, tmp_path: Path, name: str):
    exported = export(tmp_path / "job", given(models(name), name), "onnx")

    assert exported.report["proof"] == "verified"
    assert exported.metadata.parity.predictions_source >= 32
    assert exported.report["batch_max_abs"] is not None


@pytest.mark.parametrize(
    ("architecture", "word"),
    [
        ("DetrForSegmentation", "panoptic_segmentation"),
        ("Mask2FormerForUniversalSegmentation", "instance_segmentation"),
        ("DPTForDepthEstimation", "depth_estimation"),
        ("SegformerForSemanticSegmentation", "semantic_segmentation"),
    ],
)
def test_an_architecture_of_another_task_is_refused_by_name(
    models: Models, tmp_path: Path, architecture: str, word: str
):
    folder = Folder(models("yolos"), tmp_path).change("config.json", architectures=[architecture])

    error = refused(tmp_path / "job", given(folder.zip(), "yolos"))

    assert error.code == "checkpoint_task_mismatch"
    assert architecture in error.message
    assert word in error.message


@pytest.mark.parametrize("size", [{"height": 100_000, "width": 96}, {"height": 96, "width": 0}])
def test_an_odd_input_size_is_refused(models: Models, tmp_path: Path, size: dict[str, int]):
    folder = Folder(models("yolos"), tmp_path).change("preprocessor_config.json", size=size)

    assert refused(tmp_path / "job", given(folder.zip(), "yolos")).code in {"unsupported", "checkpoint_unreadable"}


def test_a_class_name_that_cannot_be_shown_is_refused(models: Models, tmp_path: Path):
    names = {str(number): f"class {number}\n" for number in range(5)}
    folder = Folder(models("yolos"), tmp_path).change("config.json", id2label=names)

    assert refused(tmp_path / "job", given(folder.zip(), "yolos")).code == "classes_mismatch"


def test_near_ties_are_pairs_across_the_edge_of_a_choice():
    scores = np.array([5.0, 1.0, 4.0, 3.99999, 0.0])

    ties = near_ties(scores, np.array([0, 2]), 0, 1e-4)

    assert [(tie.position, tie.kept, tie.left) for tie in ties] == [(1, 2, 3)]
    assert near_ties(scores, np.array([0, 2]), 0, 1e-6) == []


@pytest.mark.parametrize(("side", "bins"), [(3, 2), (3, 6), (7, 3), (16, 4)])
def test_pooling_as_products_is_torchs_own(side: int, bins: int):
    planes = torch.rand(2, 4, side, side)

    made = averages(side, bins) @ planes @ averages(side, bins).T

    assert torch.allclose(made, torch.nn.functional.adaptive_avg_pool2d(planes, bins), atol=1e-6)
