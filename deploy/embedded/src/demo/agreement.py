"""Whether several lists of predictions say the same."""

from collections.abc import Sequence

import msgspec

from modelport.predictions import Prediction

MIN_IOU = 0.99
MAX_CONFIDENCE_DIFFERENCE = 0.01


class Row(msgspec.Struct, frozen=True):
    """A prediction of the source with its counterparts, in the order of the others; None where one of them has none."""

    source: Prediction | None
    others: tuple[Prediction | None, ...]

    @property
    def agrees(self) -> bool:
        """All are there, of one class, on one place (IoU 0.99), equally sure (0.01)."""
        source = self.source
        return source is not None and all(other is not None and same(source, other) for other in self.others)


def rows(source: Sequence[Prediction], *others: Sequence[Prediction]) -> list[Row]:
    """Each prediction of the source beside the nearest of the others; what is left over gets rows of its own."""
    left = [list(other) for other in others]
    paired = [Row(found, tuple(_take(found, rest) for rest in left)) for found in source]
    alone = [
        Row(None, tuple(found if place == at else None for at in range(len(left))))
        for place, rest in enumerate(left)
        for found in rest
    ]
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
