"""timm state dicts: found however they were saved, built into their architecture, prepared as in their training."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from contracts.model_package import Resize
from contracts.vocabulary import Framework, Kernel, ResizeMethod

from .exporting import Samples, case, load, randomise, refused

TIMM = Framework.TIMM


@pytest.fixture
def weights(sample: Samples) -> Path:
    return sample("digits-timm").checkpoint


def test_an_architecture_that_timm_does_not_know_is_named(weights: Path, tmp_path: Path):
    error = refused(tmp_path, case(weights, TIMM, model="resnet_that_is_not"))

    assert error.code == "checkpoint_architecture_mismatch"
    assert "resnet" in error.hint


@pytest.mark.parametrize("architecture", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_weights_of_another_architecture_are_refused(weights: Path, tmp_path: Path, architecture: str):
    error = refused(tmp_path, case(weights, TIMM, model=architecture))

    assert error.code == "checkpoint_architecture_mismatch"
    assert architecture in error.message


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model", "module.", "nested"])
def test_weights_are_found_however_they_were_saved(weights: Path, tmp_path: Path, wrap: str):
    bare = load_file(weights.with_suffix(".safetensors"))
    saved: object = {
        "bare": bare,
        "state_dict": {"epoch": 3, "state_dict": bare, "optimizer": {"lr": 0.1}},
        "model": {"model": bare},
        "module.": {"state_dict": {f"module.{name}": value for name, value in bare.items()}},
        "nested": {"model": {"state_dict": {f"_orig_mod.{name}": value for name, value in bare.items()}}},
    }[wrap]
    path = tmp_path / "model.pth"
    torch.save(saved, path)

    loaded = load(tmp_path / "job", case(path, TIMM))

    assert len(loaded.classes) == 10
    assert torch.equal(loaded.module.fc.weight, bare["fc.weight"])


def test_a_file_without_weights_is_unreadable(tmp_path: Path):
    path = tmp_path / "model.pth"
    torch.save({"epoch": 3}, path)

    assert refused(tmp_path / "job", case(path, TIMM)).code == "checkpoint_unreadable"


CROP, SQUASH = ResizeMethod.SHORT_SIDE_CROP, ResizeMethod.STRETCH_CROP
TRANSFORMS = [
    # config of the training, method, size, resize_to, kernel
    ({"data_config": {"crop_pct": 0.5}}, CROP, 176, 352, "pil_bicubic"),
    (
        {"data_config": {"crop_mode": "squash", "interpolation": "bilinear", "crop_pct": 0.5}},
        SQUASH, 176, 352, "pil_bilinear",
    ),
    ({"input_size": [3, 64, 64], "crop_pct": 1.0}, CROP, 64, 64, "pil_bicubic"),
    ({"image_size": [96, 96], "crop_pct": 1.0}, CROP, 96, 96, "pil_bicubic"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "method", "size", "to", "kernel"), TRANSFORMS)
def test_timm_transforms_follow_the_training(
    weights: Path,
    tmp_path: Path,
    config: dict[str, object],
    method: ResizeMethod,
    size: int,
    to: int,
    kernel: Kernel,
):
    expected = Resize(method=method, size=(size, size), resize_to=(to, to), kernel=kernel)

    assert load(tmp_path, case(weights, TIMM, config=config)).preprocessing.resize == expected


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"data_config": {"crop_mode": "border"}}, "border"),
        ({"data_config": {"interpolation": "hamming"}}, "hamming"),
        ({"data_config": {"interpolation": "magic"}}, "magic"),
        ({"data_config": {"input_size": [3, 64, 96]}}, "center"),
        ({"data_config": {"input_size": [1, 64, 64]}}, "channels"),
        ({"data_config": {"crop_pct": 2}}, "crop_pct"),
        ({"data_config": {"mean": [0.5]}}, "mean"),
        ({"data_config": {"colour": 1}}, "colour"),
    ],
)
def test_a_timm_transform_that_cannot_be_reproduced_is_refused(
    weights: Path, tmp_path: Path, config: dict[str, object], word: str
):
    error = refused(tmp_path, case(weights, TIMM, config=config))

    assert error.code == "unsupported"
    assert word in f"{error.message} {error.hint}"


def test_a_vision_transformer_is_built_for_its_training_size(tmp_path: Path):
    model = randomise(timm.create_model("test_vit", num_classes=3, img_size=96))
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)

    loaded = load(tmp_path / "job", case(path, TIMM, model="test_vit", config={"image_size": [96, 96]}))

    assert loaded.preprocessing.resize.size == (96, 96)
    assert loaded.module(loaded.example).shape == (1, 3)
