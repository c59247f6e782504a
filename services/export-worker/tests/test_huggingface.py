"""Hugging Face folders and zips: their weights, their configs, their image processors, and never their code."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contracts.vocabulary import Framework

from .exporting import Samples, case, load, refused, until

HUGGINGFACE = Framework.HUGGINGFACE


class Folder:
    """A Hugging Face folder to spoil, and its zip."""

    def __init__(self, source: Path, root: Path) -> None:
        self.path = root / "model"
        self.path.mkdir()
        with zipfile.ZipFile(source) as archive:
            archive.extractall(self.path)

    def change(self, file: str, **fields: object) -> "Folder":
        path = self.path / file
        body = {**json.loads(path.read_text()), **fields}
        path.write_text(json.dumps({key: value for key, value in body.items() if value is not ...}))
        return self

    def zip(self) -> Path:
        return Path(shutil.make_archive(str(self.path.parent / "packed"), "zip", self.path))


@pytest.fixture
def folder(sample: Samples, tmp_path: Path) -> Folder:
    return Folder(sample("digits-huggingface").checkpoint, tmp_path)


def test_a_folder_is_as_good_as_its_zip(folder: Folder, tmp_path: Path):
    loaded = load(tmp_path / "job", case(folder.path, HUGGINGFACE))

    assert len(loaded.classes) == 10


def test_weights_may_be_a_pickle_of_tensors(folder: Folder, tmp_path: Path):
    weights = load_file(folder.path / "model.safetensors")
    (folder.path / "model.safetensors").unlink()
    torch.save(weights, folder.path / "pytorch_model.bin")

    assert len(load(tmp_path / "job", case(folder.zip(), HUGGINGFACE)).classes) == 10


def test_a_folder_without_weights_says_so(folder: Folder, tmp_path: Path):
    (folder.path / "model.safetensors").unlink()

    error = refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE))

    assert error.code == "checkpoint_unreadable"
    assert "no weights" in error.message


@pytest.mark.parametrize("name", ["preprocessor_config.json", "config.json"])
def test_a_folder_without_a_config_says_so(folder: Folder, tmp_path: Path, name: str):
    (folder.path / name).unlink()

    assert refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE)).code == "checkpoint_unreadable"


def test_missing_weights_are_not_made_up(folder: Folder, tmp_path: Path):
    path = folder.path / "model.safetensors"
    save_file(
        {name: value for name, value in load_file(path).items() if "classifier" not in name}, path, {"format": "pt"}
    )

    error = refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE))

    assert error.code == "checkpoint_architecture_mismatch"
    assert "classifier" in error.message


def test_code_of_the_checkpoint_is_never_run(folder: Folder, tmp_path: Path):
    (folder.path / "modeling.py").write_text("raise SystemExit('ran')")
    folder.change("config.json", auto_map={"AutoModelForImageClassification": "modeling.Model"})

    error = refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE))

    assert error.code == "unsupported"
    assert "auto_map" in error.message


@pytest.mark.parametrize(
    ("architecture", "word"),
    [("DetrForObjectDetection", "object_detection"), ("ViTModel", "ViTModel")],
)
def test_a_hugging_face_model_of_another_task_is_named(folder: Folder, tmp_path: Path, architecture: str, word: str):
    folder.change("config.json", architectures=[architecture])

    error = refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE))

    assert error.code == "checkpoint_task_mismatch"
    assert word in error.message


def test_a_model_type_that_transformers_does_not_know_is_unreadable(folder: Folder, tmp_path: Path):
    folder.change("config.json", model_type="not_a_model")

    assert refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE)).code == "checkpoint_unreadable"


PROCESSORS = [
    ({"resample": 3}, {"kernel": "pil_bicubic"}),
    ({"resample": 1}, {"kernel": "pil_lanczos"}),
    ({"image_processor_type": "MobileNetV2ImageProcessor"}, {"method": "stretch"}),
    (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.8},
        {"method": "short_side_crop", "resize_to": (40, 40), "crop_offset": "truncate"},
    ),
    (
        {"do_center_crop": True, "size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
        {"method": "short_side_crop", "resize_to": (40, 40), "crop_offset": "truncate"},
    ),
    (
        {"do_center_crop": True, "size": {"height": 48, "width": 48}, "crop_size": {"height": 32, "width": 32}},
        {"method": "stretch_crop", "resize_to": (48, 48), "crop_offset": "truncate"},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fields", "expected"), PROCESSORS)
def test_an_image_processor_is_honoured(
    folder: Folder, tmp_path: Path, fields: dict[str, object], expected: dict[str, object]
):
    folder.change(
        "preprocessor_config.json", **{"image_processor_type": "CLIPImageProcessor", "do_center_crop": False, **fields}
    )

    work = until("verify", tmp_path / "job", case(folder.zip(), HUGGINGFACE), "onnx")

    resize = work.need_loaded().preprocessing.resize
    assert {name: getattr(resize, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"do_resize": False}, "do_resize"),
        ({"resample": 4}, "4"),
        ({"size": {"shortest_edge": 32}}, "crop"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "crop"),
        ({"image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 32}}, "Levit"),
    ],
)
def test_an_image_processor_that_cannot_be_reproduced_is_refused(
    folder: Folder, tmp_path: Path, fields: dict[str, object], word: str
):
    folder.change("preprocessor_config.json", **fields)

    error = refused(tmp_path / "job", case(folder.zip(), HUGGINGFACE))

    assert error.code == "unsupported"
    assert word in error.message


def test_rescaling_and_normalising_can_be_left_out(folder: Folder, tmp_path: Path):
    folder.change("preprocessor_config.json", do_normalize=False, rescale_factor=1 / 127.5)

    normalize = load(tmp_path / "job", case(folder.zip(), HUGGINGFACE)).preprocessing.normalize

    assert (normalize.scale, normalize.mean, normalize.std) == (1 / 127.5, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
