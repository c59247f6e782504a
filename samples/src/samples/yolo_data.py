"""Writes scenes as Ultralytics' data sets: one text file per picture, one line per object, relative to the picture."""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from samples import scenes, shapes
from samples.scenes import Painter, Truth

Labeller = Callable[[Truth, int, int], list[float]]


def write(folder: Path, task: str, paint: Painter, *, train: int, val: int, long_side: int) -> Path:
    """A data set below `folder` for `segment`, `pose`, `obb` or `detect`; returns its YAML."""
    for split, count, seed in (("train", train, shapes.TRAIN_SEED), ("val", val, shapes.VAL_SEED)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index, scene in enumerate(scenes.draw(paint, seed=seed, count=count, long_side=long_side)):
            Image.fromarray(scene.picture).save(images / f"{index:04d}.png", compress_level=1)
            lines = [f"{truth.class_id} {_numbers(LABELS[task](truth, *scene.size))}\n" for truth in scene.truths]
            (labels / f"{index:04d}.txt").write_text("".join(lines))
    classes = scenes.ROTATED_CLASSES if task == "obb" else shapes.CLASSES
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(classes))
    points = f"kpt_shape: [{len(scenes.KEYPOINTS)}, 3]\n" if task == "pose" else ""
    description = folder / "data.yaml"
    description.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\n{points}names:\n{names}")
    return description


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def _box(truth: Truth, width: int, height: int) -> list[float]:
    x0, y0, x1, y1 = truth.box
    return [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]


def _outline(truth: Truth, width: int, height: int) -> list[float]:
    return [value for x, y in truth.outline for value in (x / width, y / height)]


def _keypoints(truth: Truth, width: int, height: int) -> list[float]:
    """The box, then x, y and "visible" of each point."""
    return _box(truth, width, height) + [v for x, y in truth.keypoints for v in (x / width, y / height, 2.0)]


def _corners(truth: Truth, width: int, height: int) -> list[float]:
    assert truth.rotated is not None
    return [value for x, y in scenes.corners(truth.rotated) for value in (x / width, y / height)]


LABELS: Mapping[str, Labeller] = {
    "detect": _box,
    "segment": _outline,
    "pose": _keypoints,
    "obb": _corners,
}
"""By Ultralytics' word for the task: what follows the class of an object in pixels of a picture of a width and height."""
