"""Draws the shapes data set: pictures of circles, squares and triangles on noise, with their boxes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle")
TRAIN_SEED, VAL_SEED, PICTURE_SEED = 0, 1, 2
SUPERSAMPLING = 2
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Shape:
    """One object: its class index and its box in pixels, x and y from the top left."""

    class_id: int
    box: tuple[float, float, float, float]


def draw(rng: np.random.Generator, width: int, height: int) -> tuple[Image.Image, list[Shape]]:
    """An RGB picture of `width` x `height` with one to three shapes that do not touch each other."""
    grey = int(rng.integers(0, 120))
    noise = rng.integers(0, 60, (height, width, 3), dtype=np.uint8) + np.uint8(grey)
    picture = Image.fromarray(noise)
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(1, 4))):
        shape = _place(rng, width, height, shapes)
        if shape is not None:
            _paint(picture, rng, shape)
            shapes.append(shape)
    return picture, shapes


def write_dataset(folder: Path, *, train: int, val: int, long_side: int) -> Path:
    """An Ultralytics detection data set below `folder`; train and val come from different seeds; returns its YAML."""
    for split, count, seed in (("train", train, TRAIN_SEED), ("val", val, VAL_SEED)):
        rng = np.random.default_rng(seed)
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            width, height = _size(rng, long_side)
            picture, shapes = draw(rng, width, height)
            picture.save(images / f"{index:04d}.png", compress_level=1)
            (labels / f"{index:04d}.txt").write_text("".join(_label(shape, width, height) for shape in shapes))
    description = folder / "shapes.yaml"
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    description.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return description


def write_pictures(folder: Path) -> list[Path]:
    """Pictures of a seed that training never saw: wide and tall, PNG and JPEG; the same bytes at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(PICTURE_SEED)
    sizes = {"wide.png": (640, 400), "tall.jpg": (360, 600), "large.jpg": (1280, 720), "square.png": (320, 320)}
    paths = []
    for name, (width, height) in sizes.items():
        picture, _ = draw(rng, width, height)
        picture.save(folder / name, quality=JPEG_QUALITY)
        paths.append(folder / name)
    return paths


def _size(rng: np.random.Generator, long_side: int) -> tuple[int, int]:
    short = int(long_side * rng.uniform(0.55, 1.0))
    return (long_side, short) if rng.random() < 0.5 else (short, long_side)


def _place(rng: np.random.Generator, width: int, height: int, taken: list[Shape]) -> Shape | None:
    """A free place for the next shape, or None after twenty tries."""
    long_side, short = max(width, height), min(width, height)
    for _ in range(20):
        radius = min(rng.uniform(0.10, 0.19) * long_side, short / 2 - 1)
        x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
        box = (x - radius, y - radius, x + radius, y + radius)
        if not any(_overlap(box, other.box) for other in taken):
            return Shape(int(rng.integers(0, len(CLASSES))), box)
    return None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _paint(picture: Image.Image, rng: np.random.Generator, shape: Shape) -> None:
    """Paints through a supersampled mask, so that the edges are smooth."""
    colour = tuple(int(value) for value in rng.integers(80, 256, 3))
    mask = Image.new("L", (picture.width * SUPERSAMPLING, picture.height * SUPERSAMPLING))
    pen = ImageDraw.Draw(mask)
    x0, y0, x1, y1 = (value * SUPERSAMPLING for value in shape.box)
    if CLASSES[shape.class_id] == "circle":
        pen.ellipse((x0, y0, x1, y1), fill=255)
    elif CLASSES[shape.class_id] == "square":
        pen.rectangle((x0, y0, x1, y1), fill=255)
    else:
        pen.polygon([((x0 + x1) / 2, y0), (x1, y1), (x0, y1)], fill=255)
    picture.paste(colour, mask=mask.resize(picture.size, Image.Resampling.BOX))


def _label(shape: Shape, width: int, height: int) -> str:
    x0, y0, x1, y1 = shape.box
    centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{shape.class_id} " + " ".join(f"{value:.6f}" for value in centre) + "\n"
