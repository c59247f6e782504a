"""Trains yolo11n-cls on the digits."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from ultralytics import YOLO

from samples import digits
from samples.recipes import DIGITS_PX
from samples.training import SEED, progress

SETTINGS = {
    "imgsz": DIGITS_PX,
    "epochs": 4,
    "batch": 32,
    "nbs": 32,
    "optimizer": "AdamW",
    "lr0": 0.003,
    "warmup_epochs": 1,
    "fliplr": 0.0,
    "scale": 0.2,
    "erasing": 0.0,
    "auto_augment": None,
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
    """Fills `folder` with model.pt; top-1 accuracy on the held-out digits."""
    data = digits.load()
    _write(folder / "data" / "train", data.train_images, data.train_labels)
    _write(folder / "data" / "val", data.test_images, data.test_labels)
    model = YOLO("yolo11n-cls.yaml")
    model.add_callback("on_train_epoch_end", lambda trainer: progress(f"epoch {trainer.epoch + 1}/{trainer.epochs}"))
    model.train(data=str(folder / "data"), project=str(folder), name="run", exist_ok=True, **SETTINGS)
    shutil.copy(folder / "run" / "weights" / "last.pt", folder / "model.pt")
    trained = YOLO(folder / "model.pt")
    result = trained.val(
        data=str(folder / "data"), imgsz=DIGITS_PX, workers=0, device="cpu", plots=False, verbose=False
    )
    shutil.rmtree(folder / "run")
    shutil.rmtree(folder / "data")
    return {"accuracy": float(result.top1)}


def _write(folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
    """One folder per class, as Ultralytics reads them."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        target = folder / str(label)
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target / f"{index:04d}.png")
