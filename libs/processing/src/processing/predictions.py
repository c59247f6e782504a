"""What a picture's prediction is made of, the same for every task; fields that a task lacks are None and not in its JSON."""

from __future__ import annotations

from typing import NamedTuple

from processing.masks import Mask

Box = tuple[float, float, float, float]
Point = tuple[float, float, float]


class Prediction(NamedTuple):
    """One class of a picture, one detected object, or all pixels of one class.

    `bbox` is x1 y1 x2 y2 in pixels of the source picture, None for classifiers; of a rotated box and of a segmentation it
    is the enclosing box. `rotated_box` is cx, cy, w, h and the angle in radians (clockwise, as y goes down), `keypoints`
    are x, y and confidence, `mask` is as large as the picture.
    """

    class_id: int
    class_name: str
    confidence: float
    bbox: Box | None = None
    rotated_box: tuple[float, float, float, float, float] | None = None
    keypoints: tuple[Point, ...] | None = None
    mask: Mask | None = None

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON; what the task has not is left out, but for `bbox`."""
        value: dict[str, object] = {
            "class_id": self.class_id,
            "class_name": self.class_name,
            "confidence": self.confidence,
            "bbox": None if self.bbox is None else list(self.bbox),
        }
        if self.rotated_box is not None:
            value["rotated_box"] = list(self.rotated_box)
        if self.keypoints is not None:
            value["keypoints"] = [list(point) for point in self.keypoints]
        if self.mask is not None:
            value["mask"] = self.mask.as_dict()
        return value
