"""Pictures together with everything that can be asked about them: outlines, key points, rotated boxes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from samples import shapes

ROTATED_CLASSES = ("bar", "frame", "wedge")
KEYPOINTS = ("top", "right foot", "left foot")
CIRCLE_CORNERS = 48
PLACING_TRIES = 20
HELD_OUT = 64

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One object in pixels of its picture; `rotated` is centre x, y, width, height, angle in radians."""

    class_id: int
    box: tuple[float, float, float, float]
    outline: Points
    keypoints: Points = ()
    rotated: tuple[float, float, float, float, float] | None = None


@dataclass(frozen=True)
class Scene:
    """A uint8 RGB picture [H, W, 3] and what is to be seen in it."""

    picture: npt.NDArray[np.uint8]
    truths: tuple[Truth, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.picture.shape[1], self.picture.shape[0]

    def label_map(self) -> npt.NDArray[np.int64]:
        """A class per pixel [H, W] as semantic segmentation counts them: 0 is the ground, then the classes of shapes."""
        labels = np.zeros(self.picture.shape[:2], np.int64)
        for truth in self.truths:
            labels[mask(truth.outline, *self.size)] = truth.class_id + 1
        return labels


Painter = Callable[[np.random.Generator, int, int], Scene]


def upright(rng: np.random.Generator, width: int, height: int) -> Scene:
    """The shapes of the detector with their outlines and three key points: the top and the two feet."""
    picture, found = shapes.draw(rng, width, height)
    return Scene(np.asarray(picture), tuple(_truth(shape) for shape in found))


def rotated(rng: np.random.Generator, width: int, height: int) -> Scene:
    """One to three bars, ellipses and wedges at any angle, apart from each other, twice as long as wide at least."""
    grey = int(rng.integers(0, 120))
    picture = Image.fromarray(rng.integers(0, 60, (height, width, 3), dtype=np.uint8) + np.uint8(grey))
    truths: list[Truth] = []
    for _ in range(int(rng.integers(1, 4))):
        truth = _turned(rng, width, height, truths)
        if truth is not None:
            colour = tuple(int(value) for value in rng.integers(120, 256, 3))
            picture.paste(colour, mask=_stencil(truth.outline, picture.size))
            if ROTATED_CLASSES[truth.class_id] == "frame":
                picture.paste((0, 0, 0), mask=_stencil(_shrunk(truth.outline), picture.size))
            truths.append(truth)
    return Scene(np.asarray(picture), tuple(truths))


def large(rng: np.random.Generator, width: int, height: int) -> Scene:
    """One or two large bright shapes on a dark ground: what a transformer learns to find in a few minutes."""
    picture = Image.fromarray(rng.integers(0, 40, (height, width, 3), dtype=np.uint8))
    truths: list[Truth] = []
    for _ in range(int(rng.integers(1, 3))):
        short = min(width, height)
        radius = rng.uniform(0.16, 0.24) * short
        for _ in range(PLACING_TRIES):
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            box = (x - radius, y - radius, x + radius, y + radius)
            if all(_apart(box, other.box) for other in truths):
                truth = _truth(shapes.Shape(int(rng.integers(0, len(shapes.CLASSES))), box))
                colour = tuple(int(value) for value in rng.integers(150, 256, 3))
                picture.paste(colour, mask=_stencil(truth.outline, picture.size))
                truths.append(truth)
                break
    return Scene(np.asarray(picture), tuple(truths))


def draw(paint: Painter, *, seed: int, count: int, long_side: int) -> Iterator[Scene]:
    """`count` pictures, most of them not square; the same at every call."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield paint(rng, *shapes._size(rng, long_side))


def mask(outline: Points, width: int, height: int) -> npt.NDArray[np.bool_]:
    """The pixels [H, W] that an outline covers by half at least."""
    return np.asarray(_stencil(outline, (width, height))) >= 128


def corners(rotated: tuple[float, float, float, float, float]) -> Points:
    """The four corners of a rotated box."""
    x, y, width, height, angle = rotated
    along = (math.cos(angle) * width / 2, math.sin(angle) * width / 2)
    across = (-math.sin(angle) * height / 2, math.cos(angle) * height / 2)
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return tuple((x + a * along[0] + b * across[0], y + a * along[1] + b * across[1]) for a, b in signs)


def _truth(shape: shapes.Shape) -> Truth:
    x0, y0, x1, y1 = shape.box
    x, y, radius = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2
    outlines: dict[str, Points] = {
        "circle": tuple((x + radius * c, y + radius * s) for c, s in _circle()),
        "square": ((x0, y0), (x1, y0), (x1, y1), (x0, y1)),
        "triangle": ((x, y0), (x1, y1), (x0, y1)),
    }
    return Truth(
        class_id=shape.class_id,
        box=shape.box,
        outline=outlines[shapes.CLASSES[shape.class_id]],
        keypoints=((x, y0), (x1, y1), (x0, y1)),
    )


def _turned(rng: np.random.Generator, width: int, height: int, taken: list[Truth]) -> Truth | None:
    """A free place for one more at any angle, or None after twenty tries."""
    for _ in range(PLACING_TRIES):
        long = rng.uniform(0.42, 0.6) * min(width, height) / 2
        wide, angle = long * rng.uniform(0.4, 0.6), rng.uniform(0, math.pi)
        x, y = rng.uniform(long, width - long), rng.uniform(long, height - long)
        class_id = int(rng.integers(0, len(ROTATED_CLASSES)))
        corners: Points = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        unit = {"bar": corners, "frame": corners, "wedge": ((1, 0), (-1, 1), (-1, -1))}
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        outline = np.array(unit[ROTATED_CLASSES[class_id]]) * (long, wide) @ turn + (x, y)
        (x0, y0), (x1, y1) = outline.min(axis=0), outline.max(axis=0)
        box = (float(x0), float(y0), float(x1), float(y1))
        if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height and all(_apart(box, other.box) for other in taken):
            points = tuple((float(px), float(py)) for px, py in outline)
            turned = (x, y, 2 * long, 2 * wide, angle)
            return Truth(class_id=class_id, box=box, outline=points, rotated=turned)
    return None


def _circle() -> Points:
    angles = [2 * math.pi * step / CIRCLE_CORNERS for step in range(CIRCLE_CORNERS)]
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


def _shrunk(outline: Points) -> Points:
    """The same about its centre, half as large."""
    points = np.array(outline)
    return tuple((float(x), float(y)) for x, y in (points + points.mean(axis=0)) / 2)


def _apart(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return not shapes._overlap(a, b)


def _stencil(outline: Points, size: tuple[int, int]) -> Image.Image:
    """Coverage 0 to 255 of each pixel, from a drawing of four times the size."""
    large = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(large).polygon([(x * 4, y * 4) for x, y in outline], fill=255)
    return large.resize(size, Image.Resampling.BOX)
