"""What an endpoint finds in a picture."""

from modelport.errors import ClientError
from modelport.models import Answer

Box = tuple[float, float, float, float]
Point = tuple[float, float, float]


class Mask(Answer, frozen=True):
    """Pixels of the picture sent: `size` is height and width, `counts` how many are outside and inside in turn.

    They are counted down the columns, from the left, and begin outside: COCO's uncompressed run lengths.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]

    @property
    def area(self) -> int:
        """How many pixels are inside."""
        return sum(self.counts[1::2])

    def columns(self) -> bytes:
        """One byte a pixel, 255 inside and 0 outside, column by column; raises ClientError for counts of another size."""
        height, width = self.size
        if min((height, width, *self.counts), default=0) < 0 or sum(self.counts) != height * width:
            raise ClientError(f"The mask's counts are not those of {width} x {height} pixels.")
        return b"".join((b"\xff" if i % 2 else b"\0") * count for i, count in enumerate(self.counts))


class Prediction(Answer, frozen=True, kw_only=True, omit_defaults=True, rename={"class_name": "class"}):
    """One class, object or region; what the model's task lacks is None.

    `bbox` is x1 y1 x2 y2 in pixels of the picture sent, `rotated_box` cx, cy, w, h and the angle in radians (`bbox` encloses
    it), `keypoints` x, y and confidence of each point.
    """

    class_name: str
    class_id: int
    confidence: float
    bbox: Box | None
    rotated_box: tuple[float, float, float, float, float] | None = None
    keypoints: tuple[Point, ...] | None = None
    mask: Mask | None = None


class ImageSize(Answer, frozen=True, kw_only=True):
    """In pixels, upright."""

    width: int
    height: int


class Inference(Answer, frozen=True, kw_only=True):
    predictions: tuple[Prediction, ...]
    latency_ms: float
    model_version: str
    image: ImageSize | None = None
