"""Whether three lists of predictions say the same."""

from collections.abc import Sequence

import msgspec

from modelport.predictions import Prediction

MIN_IOU = 0.99
MAX_CONFIDENCE_DIFFERENCE = 0.01


class Row(msgspec.Struct, frozen=True):
    """A prediction of the source with its counterparts; None where one of them has none."""

    source: Prediction | None
    wrapper: Prediction | None
    endpoint: Prediction | None

    @property
    def agrees(self) -> bool:
        """All three are there, of one class, on one place (IoU 0.99), equally sure (0.01)."""
        source = self.source
        return source is not None and all(
            other is not None and same(source, other) for other in (self.wrapper, self.endpoint)
        )


def rows(source: Sequence[Prediction], wrapper: Sequence[Prediction], endpoint: Sequence[Prediction]) -> list[Row]:
    """Each prediction of the source beside the nearest of the others; what is left over gets rows of its own."""
    wrapper_left, endpoint_left = list(wrapper), list(endpoint)
    paired = [Row(found, _take(found, wrapper_left), _take(found, endpoint_left)) for found in source]
    alone = [Row(None, found, None) for found in wrapper_left] + [Row(None, None, found) for found in endpoint_left]
    return paired + alone


def same(a: Prediction, b: Prediction) -> bool:
    return (
        a.class_id == b.class_id
        and iou(a, b) >= MIN_IOU
        and abs(a.confidence - b.confidence) <= MAX_CONFIDENCE_DIFFERENCE
    )


def iou(a: Prediction, b: Prediction) -> float:
    """Of the two boxes; predictions without boxes count as one place."""
    if a.bbox is None or b.bbox is None:
        return 1.0 if a.bbox is b.bbox else 0.0
    width = min(a.bbox[2], b.bbox[2]) - max(a.bbox[0], b.bbox[0])
    height = min(a.bbox[3], b.bbox[3]) - max(a.bbox[1], b.bbox[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(a.bbox) + _area(b.bbox) - shared
    return shared / union if union > 0 else 0.0


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _take(wanted: Prediction, left: list[Prediction]) -> Prediction | None:
    """Removes and returns the one of the same class that overlaps most."""
    candidates = [found for found in left if found.class_id == wanted.class_id and iou(found, wanted) > 0]
    if not candidates:
        return None
    best = max(candidates, key=lambda found: iou(found, wanted))
    left.remove(best)
    return best
