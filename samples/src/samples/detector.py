"""Trains the shapes detector: a full-size yolo11n on small pictures, in about a minute on two cores."""

import shutil
from pathlib import Path

from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer

from samples import shapes
from samples.training import SEED, progress

IMAGE_SIZE = 160
TRAIN_PICTURES, VAL_PICTURES = 128, 64
EPOCHS = 10
BATCH = 8
# `nbs` equal to the batch: an optimiser step per batch, where the default would collect 64 pictures first.
SETTINGS = {
    "imgsz": IMAGE_SIZE,
    "epochs": EPOCHS,
    "batch": BATCH,
    "nbs": BATCH,
    "optimizer": "AdamW",
    "lr0": 0.002,
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


def train(folder: Path) -> dict[str, float]:
    """Fills `folder` with model.pt; metrics come from pictures of another seed than the training's."""
    data = shapes.write_dataset(folder / "data", train=TRAIN_PICTURES, val=VAL_PICTURES, long_side=IMAGE_SIZE)
    model = YOLO("yolo11n.yaml")
    model.add_callback("on_train_epoch_end", _tell)
    model.train(data=str(data), project=str(folder), name="run", exist_ok=True, **SETTINGS)
    shutil.copy(folder / "run" / "weights" / "last.pt", folder / "model.pt")
    trained = YOLO(folder / "model.pt")
    result = trained.val(data=str(data), imgsz=IMAGE_SIZE, workers=0, device="cpu", plots=False, verbose=False)
    shutil.rmtree(folder / "run")
    shutil.rmtree(folder / "data")
    return {"mAP50": float(result.box.map50), "mAP50-95": float(result.box.map)}


def _tell(trainer: BaseTrainer) -> None:
    loss = sum(float(part) for part in trainer.tloss.values())
    progress(f"epoch {trainer.epoch + 1}/{trainer.epochs}, loss {loss:.2f}")
