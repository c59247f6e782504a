"""Bad checkpoints of every kind: each ends with its code and a sentence that names what was found."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from contracts.errors import Permanent
from contracts.model_package import Resize
from contracts.vocabulary import Framework, Kernel, ResizeMethod, TaskType
from export_worker.checkpoints import sniff
from export_worker.loaded import Loaded
from samples.cache import Sample

from .exporting import Case, randomise, until

Samples = Callable[[str], Sample]
DETECT, CLASSIFY = TaskType.OBJECT_DETECTION, TaskType.IMAGE_CLASSIFICATION
ULTRALYTICS, TIMM, HUGGINGFACE = Framework.ULTRALYTICS, Framework.TIMM, Framework.HUGGINGFACE
ARCHITECTURE = "resnet10t"


@pytest.fixture(scope="session")
def files(sample: Samples, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Good checkpoints of the three frameworks, by name."""
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("checkpoints")
    segment = folder / "segment.pt"
    YOLO("yolo11n-seg.yaml").save(segment)
    scripted = folder / "scripted.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(scripted))
    pickled = folder / "pickled.pth"
    torch.save(torch.nn.Linear(2, 2), pickled)
    timm_sample = sample("digits-timm").checkpoint
    hf = sample("digits-huggingface").checkpoint
    return {
        "detector": sample("shapes-detector").checkpoint,
        "classifier": sample("digits-ultralytics").checkpoint,
        "segment": segment,
        "timm": timm_sample,
        "safetensors": timm_sample.with_suffix(".safetensors"),
        "huggingface": hf,
        "scripted": scripted,
        "pickled": pickled,
    }


def case(
    path: Path, framework: Framework, task: TaskType = CLASSIFY, model: str = ARCHITECTURE, **more: object
) -> Case:
    return Case(checkpoint=path, framework=framework, task=task, model=model, **more)


def load(folder: Path, given: Case) -> Loaded:
    return until("load", folder, given, "onnx").need_loaded()


def refused(folder: Path, given: Case) -> Permanent:
    with pytest.raises(Permanent) as caught:
        load(folder, given)
    return caught.value


MISMATCHES = [
    # file, framework of the request, word that the sentence must hold
    ("timm", ULTRALYTICS, "state dict"),
    ("safetensors", ULTRALYTICS, "safetensors"),
    ("huggingface", ULTRALYTICS, "Hugging Face"),
    ("scripted", ULTRALYTICS, "TorchScript"),
    ("pickled", ULTRALYTICS, "torch module"),
    ("detector", TIMM, "Ultralytics"),
    ("huggingface", TIMM, "Hugging Face"),
    ("scripted", TIMM, "TorchScript"),
    ("pickled", TIMM, "torch module"),
    ("detector", HUGGINGFACE, "Ultralytics"),
    ("timm", HUGGINGFACE, "state dict"),
    ("safetensors", HUGGINGFACE, "safetensors"),
]


@pytest.mark.parametrize(("name", "framework", "word"), MISMATCHES)
def test_a_checkpoint_of_another_framework_is_named(
    files: dict[str, Path], tmp_path: Path, name: str, framework: Framework, word: str
):
    error = refused(tmp_path, case(files[name], framework))

    assert error.code == "checkpoint_framework_mismatch"
    assert word in error.message


@pytest.mark.parametrize(
    ("name", "framework"),
    [("detector", ULTRALYTICS), ("timm", TIMM), ("safetensors", TIMM), ("huggingface", HUGGINGFACE)],
)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_checkpoint_is_unreadable(
    files: dict[str, Path], tmp_path: Path, name: str, framework: Framework, kept: float
):
    whole = files[name].read_bytes()
    cut = tmp_path / files[name].name
    cut.write_bytes(whole[: int(len(whole) * kept)])
    task = DETECT if name == "detector" else CLASSIFY

    assert refused(tmp_path / "job", case(cut, framework, task)).code == "checkpoint_unreadable"


@pytest.mark.parametrize("framework", list(Framework))
@pytest.mark.parametrize("body", [b"hello", b"\xff\xd8\xff\xe0 picture", b"PK\x03\x04 no zip", b"\x80\x02 no pickle"])
def test_something_else_is_unreadable(tmp_path: Path, framework: Framework, body: bytes):
    path = tmp_path / "model.pt"
    path.write_bytes(body)

    assert refused(tmp_path / "job", case(path, framework)).code == "checkpoint_unreadable"


@pytest.mark.parametrize(
    ("name", "task", "word"),
    [
        ("detector", CLASSIFY, "object_detection"),
        ("classifier", DETECT, "image_classification"),
        ("segment", DETECT, "instance_segmentation"),
    ],
)
def test_an_ultralytics_checkpoint_of_another_task_is_named(
    files: dict[str, Path], tmp_path: Path, name: str, task: TaskType, word: str
):
    error = refused(tmp_path, case(files[name], ULTRALYTICS, task))

    assert error.code == "checkpoint_task_mismatch"
    assert word in error.message


@pytest.mark.parametrize(
    ("name", "framework", "task"),
    [("detector", ULTRALYTICS, DETECT), ("timm", TIMM, CLASSIFY), ("huggingface", HUGGINGFACE, CLASSIFY)],
)
def test_too_few_class_names_are_counted(
    files: dict[str, Path], tmp_path: Path, name: str, framework: Framework, task: TaskType
):
    error = refused(tmp_path, case(files[name], framework, task, classes=("one", "two")))

    assert error.code == "classes_mismatch"
    assert "2" in error.message


def test_an_architecture_that_timm_does_not_know_is_named(files: dict[str, Path], tmp_path: Path):
    error = refused(tmp_path, case(files["timm"], TIMM, model="resnet_that_is_not"))

    assert error.code == "checkpoint_architecture_mismatch"
    assert "resnet" in error.hint


@pytest.mark.parametrize("architecture", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_weights_of_another_architecture_are_refused(files: dict[str, Path], tmp_path: Path, architecture: str):
    error = refused(tmp_path, case(files["timm"], TIMM, model=architecture))

    assert error.code == "checkpoint_architecture_mismatch"
    assert architecture in error.message


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model", "module.", "nested"])
def test_weights_are_found_however_they_were_saved(files: dict[str, Path], tmp_path: Path, wrap: str):
    bare = load_file(files["safetensors"])
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
    files: dict[str, Path],
    tmp_path: Path,
    config: dict[str, object],
    method: ResizeMethod,
    size: int,
    to: int,
    kernel: Kernel,
):
    expected = Resize(method=method, size=(size, size), resize_to=(to, to), kernel=kernel)

    assert load(tmp_path, case(files["timm"], TIMM, config=config)).preprocessing.resize == expected


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
    files: dict[str, Path], tmp_path: Path, config: dict[str, object], word: str
):
    error = refused(tmp_path, case(files["timm"], TIMM, config=config))

    assert error.code == "unsupported"
    assert word in f"{error.message} {error.hint}"


def test_a_vision_transformer_is_built_for_its_training_size(tmp_path: Path):
    model = randomise(timm.create_model("test_vit", num_classes=3, img_size=96))
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)

    loaded = load(tmp_path / "job", case(path, TIMM, model="test_vit", config={"image_size": [96, 96]}))

    assert loaded.preprocessing.resize.size == (96, 96)
    assert loaded.module(loaded.example).shape == (1, 3)


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
def folder(files: dict[str, Path], tmp_path: Path) -> Folder:
    return Folder(files["huggingface"], tmp_path)


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


def test_the_kind_of_every_file_is_told_without_opening_it(files: dict[str, Path]):
    kinds = {name: sniff(path) for name, path in files.items()}

    assert kinds == {
        "detector": "ultralytics",
        "classifier": "ultralytics",
        "segment": "ultralytics",
        "timm": "state_dict",
        "safetensors": "safetensors",
        "huggingface": "huggingface",
        "scripted": "torchscript",
        "pickled": "module",
    }


def test_a_pickle_that_would_run_something_is_no_state_dict(tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return (exec, ("open('ran', 'w')",))

    path = tmp_path / "model.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}, "evil": Evil()}, path)

    assert refused(tmp_path / "job", case(path, TIMM)).code in {
        "checkpoint_unreadable",
        "checkpoint_framework_mismatch",
    }
    assert not Path("ran").exists()
