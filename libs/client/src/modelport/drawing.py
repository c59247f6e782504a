"""Predictions drawn into their picture; needs Pillow (`pip install modelport[draw]`)."""

from collections.abc import Sequence
from math import cos, sin
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.errors import ClientError
from modelport.predictions import Mask, Prediction

if TYPE_CHECKING:
    from PIL.Image import Image as Canvas
    from PIL.ImageDraw import ImageDraw as Pen

PALETTE = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
OPACITY = 0.45
"""Of masks, so that the picture is seen through them."""
SURE_POINT = 0.25
"""Keypoints of less confidence are not drawn: they are often out of sight."""


def draw(picture: Path, predictions: Sequence[Prediction], output: Path) -> None:
    """Write `output`: the picture, turned as its EXIF says, with masks, boxes, keypoints and labels.

    Raises ClientError without Pillow, and for a mask that is not of this picture.
    """
    try:
        from PIL import Image, ImageDraw, ImageOps
    except ImportError as error:
        raise ClientError("Drawing needs Pillow.", "pip install modelport[draw]") from error
    with Image.open(picture) as opened:
        canvas = ImageOps.exif_transpose(opened).convert("RGB")
    for found in predictions:
        if found.mask:
            _mask(canvas, found.mask, _colour(found))
    pen = ImageDraw.Draw(canvas)
    for row, found in enumerate(predictions):
        _outline(pen, found, max(2, max(canvas.size) // 400))
        label = f"{found.class_name} {found.confidence:.2f}"
        left, top = (found.bbox[0], max(found.bbox[1] - 12, 0)) if found.bbox else (4, 4 + 14 * row)
        pen.rectangle(pen.textbbox((left, top), label), fill=_colour(found))
        pen.text((left, top), label, fill="white")
    output.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(output)


def _colour(found: Prediction) -> str:
    return PALETTE[found.class_id % len(PALETTE)]


def _mask(canvas: "Canvas", mask: Mask, colour: str) -> None:
    from PIL import Image

    height, width = mask.size
    if (width, height) != canvas.size:
        raise ClientError(f"The mask is of a picture of {width} x {height} pixels, not of this one.")
    inside = Image.frombytes("L", (height, width), mask.columns()).transpose(Image.Transpose.TRANSPOSE)
    canvas.paste(colour, (0, 0), inside.point([round(OPACITY * value) for value in range(256)]))


def _outline(pen: "Pen", found: Prediction, width: int) -> None:
    """The box that fits best, and the keypoints."""
    if found.rotated_box:
        pen.polygon(corners(*found.rotated_box), outline=_colour(found), width=width)
    elif found.bbox:
        pen.rectangle(found.bbox, outline=_colour(found), width=width)
    for x, y, confidence in found.keypoints or ():
        if confidence >= SURE_POINT:
            pen.ellipse((x - width, y - width, x + width, y + width), fill=_colour(found), outline="white")


def corners(x: float, y: float, width: float, height: float, angle: float) -> list[tuple[float, float]]:
    """The corners of a rotated box, one after the other around it."""
    along = width / 2 * cos(angle), width / 2 * sin(angle)
    beside = -height / 2 * sin(angle), height / 2 * cos(angle)
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    return [(x + a * along[0] + b * beside[0], y + a * along[1] + b * beside[1]) for a, b in signs]
