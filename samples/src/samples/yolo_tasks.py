"""Trains the shapes detector on to other tasks: what they share is kept, so that a few short epochs suffice."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer

from samples import scenes, yolo_data
from samples.scenes import Painter
from samples.training import SEED, progress

BASE = "base.pt"
IMAGE_SIZE = 160
TRAIN_PICTURES = 96
BATCH = 8
SETTINGS = {
    "imgsz": IMAGE_SIZE,
    "batch": BATCH,
    "nbs": BATCH,
    "optimizer": "AdamW",
    "warmup_epochs": 1,
    "mosaic": 0.0,
    "close_mosaic": 0,
    "scale": 0.3,
    "hsv_h": 0.0,
    "workers": 0,
    "device": "cpu",
    "cache": "ram",
    "amp": False,
    "val": False,
    "plots": False,
    "seed": SEED,
    "deterministic": True,
    "verbose": False,
}


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one task is learned; `metric` is the key of Ultralytics' own validation, `freeze` the layers that stay."""

    task: str
    architecture: str
    paint: Painter
    metric: str
    epochs: int
    freeze: int
    lr0: float = 0.002


def segmenter(folder: Path) -> dict[str, float]:
    """Fills `folder` with model.pt, a yolo11n-seg."""
    return _train(
        folder,
        Course(
            task="segment",
            architecture="yolo11n-seg.yaml",
            paint=scenes.upright,
            metric="metrics/mAP50(M)",
            epochs=8,
            freeze=10,
        ),
    )


def poser(folder: Path) -> dict[str, float]:
    """Fills `folder` with model.pt, a yolo11n-pose of three key points."""
    return _train(
        folder,
        Course(
            task="pose",
            architecture="yolo11n-pose.yaml",
            paint=scenes.upright,
            metric="metrics/mAP50(P)",
            epochs=6,
            freeze=10,
        ),
    )


def orienter(folder: Path) -> dict[str, float]:
    """Fills `folder` with model.pt, a yolo11n-obb; its classes are new to the backbone, half of which learns them."""
    return _train(
        folder,
        Course(
            task="obb",
            architecture="yolo11n-obb.yaml",
            paint=scenes.rotated,
            metric="metrics/mAP50(B)",
            epochs=14,
            freeze=5,
            lr0=0.003,
        ),
    )


def nms_free(folder: Path) -> dict[str, float]:
    """Fills `folder` with model.pt, a yolo26n, which shares but half of its layers with the detector; all of it learns."""
    return _train(
        folder,
        Course(
            task="detect",
            architecture="yolo26n.yaml",
            paint=scenes.upright,
            metric="metrics/mAP50(B)",
            epochs=8,
            freeze=0,
        ),
    )


def _train(folder: Path, course: Course) -> dict[str, float]:
    """`folder` holds the detector to start from; metrics come from pictures of another seed than the training's."""
    data = yolo_data.write(
        folder / "data", course.task, course.paint, train=TRAIN_PICTURES, val=scenes.HELD_OUT, long_side=IMAGE_SIZE
    )
    model = YOLO(course.architecture)
    model.load(folder / BASE)
    model.add_callback("on_train_epoch_end", _tell)
    chosen = {"epochs": course.epochs, "freeze": course.freeze, "lr0": course.lr0}
    model.train(data=str(data), project=str(folder), name="run", exist_ok=True, **SETTINGS, **chosen)
    shutil.copy(folder / "run" / "weights" / "last.pt", folder / "model.pt")
    trained = YOLO(folder / "model.pt")
    result = trained.val(data=str(data), imgsz=IMAGE_SIZE, workers=0, device="cpu", plots=False, verbose=False)
    shutil.rmtree(folder / "run")
    shutil.rmtree(folder / "data")
    return {"mAP50": float(result.results_dict[course.metric])}


def _tell(trainer: BaseTrainer) -> None:
    loss = sum(float(part) for part in trainer.tloss.values())
    progress(f"epoch {trainer.epoch + 1}/{trainer.epochs}, loss {loss:.2f}")
