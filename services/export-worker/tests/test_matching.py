"""Predictions are matched as sets, and what only rounding decides is told apart from what differs."""

import pytest

from contracts.vocabulary import ExportFormat
from export_worker.loaded import Found
from export_worker.parity.matching import Match, match
from export_worker.parity.tolerances import tolerance

LIMITS = tolerance(ExportFormat.ONNX)
BOX = (10.0, 10.0, 50.0, 40.0)
OTHER = (100.0, 10.0, 150.0, 40.0)


def compare(source: list[Found], artefact: list[Found], limit: int = 300) -> Match:
    return match(source, artefact, LIMITS, threshold=0.01, default=0.25, limit=limit)


def test_order_does_not_matter():
    a, b = Found(0, 0.9, BOX), Found(1, 0.90001, OTHER)

    made = compare([a, b], [b, a])

    assert (made.matched, made.edge, made.strict) == (2, 0, 0)
    assert made.min_iou == pytest.approx(1.0)


@pytest.mark.parametrize(
    "other",
    [Found(1, 0.9, BOX), Found(0, 0.8, BOX), Found(0, 0.9, OTHER)],
    ids=["class", "confidence", "box"],
)
def test_another_prediction_is_no_match(other: Found):
    made = compare([Found(0, 0.9, BOX)], [other])

    assert made.matched == 0
    assert made.strict == 2


def test_each_prediction_is_used_once():
    made = compare([Found(0, 0.9, BOX), Found(0, 0.9, BOX)], [Found(0, 0.9, BOX)])

    assert (made.matched, made.strict) == (1, 1)


def test_a_prediction_on_the_threshold_may_be_missing():
    made = compare([Found(0, 0.9, BOX), Found(0, 0.01001, OTHER)], [Found(0, 0.9, BOX)])

    assert (made.matched, made.edge, made.strict) == (1, 1, 0)


def test_what_is_on_the_threshold_in_both_lists_hides_no_other():
    source = [Found(0, 0.01001, BOX), Found(0, 0.2, OTHER)]
    artefact = [Found(1, 0.01001, BOX), Found(1, 0.2, OTHER)]

    made = compare(source, artefact)

    assert (made.edge, made.clear) == (2, 1)


def test_the_end_of_a_full_list_may_differ():
    made = compare([Found(0, 0.9, BOX), Found(1, 0.5, BOX)], [Found(0, 0.9, BOX), Found(2, 0.5, BOX)], limit=2)

    assert (made.matched, made.edge, made.strict) == (1, 2, 0)


def test_a_list_that_is_not_full_has_no_such_end():
    made = compare([Found(0, 0.9, BOX), Found(1, 0.5, BOX)], [Found(0, 0.9, BOX), Found(2, 0.5, BOX)], limit=3)

    assert made.strict == 2


def test_thin_boxes_match_by_their_sides():
    made = compare([Found(0, 0.9, (0.0, 0.0, 0.01, 5.0))], [Found(0, 0.9, (0.02, 0.0, 0.05, 5.0))])

    assert made.matched == 1
    assert made.min_iou is None


def test_nothing_against_nothing():
    made = compare([], [])

    assert (made.source, made.matched, made.max_confidence) == (0, 0, 0.0)
