"""Bad checkpoints of every kind: each ends with its code and a sentence that names what was found."""

from pathlib import Path

import pytest
import torch

from contracts.errors import Permanent
from contracts.vocabulary import Framework, TaskType
from export_worker.frameworks.checkpoints import class_names, sniff

from .exporting import Samples, case, refused

DETECT, CLASSIFY = TaskType.OBJECT_DETECTION, TaskType.IMAGE_CLASSIFICATION
ULTRALYTICS, TIMM, HUGGINGFACE = Framework.ULTRALYTICS, Framework.TIMM, Framework.HUGGINGFACE


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


@pytest.mark.parametrize("name", ["\x1b[2J", "two\nlines", "safe\u202etxt", "x" * 300])
def test_names_that_cannot_be_shown_are_refused_before_anything_is_converted(name: str) -> None:
    with pytest.raises(Permanent, match="class 1") as caught:
        class_names(["cat", name], None)
    assert caught.value.code == "classes_mismatch"
    assert class_names(["cat", name], ["cat", "犬"]) == ("cat", "犬")
