"""The body of a 200: what was found in a picture, field by field as the client reads it."""

from msgspec import Struct

from inference_proxy.data_plane import Inference
from processing.predictions import Box, Point, Prediction


class MaskOut(Struct, frozen=True):
    """Pixels of the picture: `size` is height and width, `counts` COCO's uncompressed run lengths, down the columns."""

    size: tuple[int, int]
    counts: tuple[int, ...]


class PredictionOut(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"class_name": "class"}):
    """One class, object or region; fields that the model's task lacks are left out, but for `bbox`, null for classifiers.

    `bbox` is x1 y1 x2 y2 in pixels of the picture, `rotated_box` cx, cy, w, h and radians, `keypoints` x, y and confidence.
    """

    class_name: str
    class_id: int
    confidence: float
    bbox: Box | None
    rotated_box: tuple[float, float, float, float, float] | None = None
    keypoints: tuple[Point, ...] | None = None
    mask: MaskOut | None = None


class ImageOut(Struct, frozen=True):
    """Size of the picture in pixels, upright."""

    width: int
    height: int


class InferAnswer(Struct, frozen=True, kw_only=True):
    """The whole body."""

    predictions: list[PredictionOut]
    latency_ms: float
    model_version: str
    image: ImageOut


def answer(found: Inference, *, latency_ms: float, version: int) -> InferAnswer:
    """The body for what was found by the model's `version`."""
    return InferAnswer(
        predictions=[_prediction(one) for one in found.predictions],
        latency_ms=round(latency_ms, 2),
        model_version=f"v{version}",
        image=ImageOut(found.width, found.height),
    )


def _prediction(found: Prediction) -> PredictionOut:
    return PredictionOut(
        class_name=found.class_name,
        class_id=found.class_id,
        confidence=found.confidence,
        bbox=found.bbox,
        rotated_box=found.rotated_box,
        keypoints=found.keypoints,
        mask=None if found.mask is None else MaskOut(found.mask.size, found.mask.counts),
    )
