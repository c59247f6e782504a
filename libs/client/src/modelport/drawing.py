"""Predictions drawn into their picture; needs Pillow (`pip install modelport[draw]`)."""

from collections.abc import Sequence
from pathlib import Path

from modelport.errors import ClientError
from modelport.models import Prediction

PALETTE = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def draw(picture: Path, predictions: Sequence[Prediction], output: Path) -> None:
    """Write `output`: the picture, turned as its EXIF says, with boxes and labels; raises ClientError without Pillow."""
    try:
        from PIL import Image, ImageDraw, ImageOps
    except ImportError as error:
        raise ClientError("Drawing needs Pillow.", "pip install modelport[draw]") from error
    with Image.open(picture) as opened:
        canvas = ImageOps.exif_transpose(opened).convert("RGB")
    pen = ImageDraw.Draw(canvas)
    for row, found in enumerate(predictions):
        colour, label = PALETTE[found.class_id % len(PALETTE)], f"{found.class_name} {found.confidence:.2f}"
        left, top = (found.bbox[0], max(found.bbox[1] - 12, 0)) if found.bbox else (4, 4 + 14 * row)
        if found.bbox:
            pen.rectangle(found.bbox, outline=colour, width=2)
        pen.rectangle(pen.textbbox((left, top), label), fill=colour)
        pen.text((left, top), label, fill="white")
    output.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(output)
