"""Sets of boxes: order and ties are rounding, anything else is a difference."""

import numpy as np
import pytest

from contracts.vocabulary import Decoder, ExportFormat
from export_worker.parity.compare import Comparison
from export_worker.parity.rowsets import align, candidates, nearest_rows
from export_worker.parity.tolerances import tolerance

LIMITS = tolerance(ExportFormat.ONNX)


def rows(count: int = 8) -> np.ndarray:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 200, (count, 2))
    scores = np.sort(rng.uniform(0.3, 0.9, count))[::-1]
    return np.concatenate([low, low + 20, scores[:, None], rng.integers(0, 3, (count, 1))], 1)


def compared(source: np.ndarray, artefact: np.ndarray, pool: np.ndarray | None = None) -> Comparison:
    made = Comparison(["detections"], Decoder.YOLO_END2END, LIMITS, classes=3)
    made.add([source[None]], [artefact[None]], pool)
    return made


def test_another_order_is_no_difference():
    a = rows()
    order = [1, 0, 2, 4, 3, 7, 6, 5]

    assert list(nearest_rows(a, a[order])) == list(np.argsort(order))
    assert max(part.max_abs for part in compared(a, a[order]).result()) == 0


def test_a_row_without_a_partner_does_not_take_that_of_another():
    a = rows()
    b = a.copy()
    b[0], b[1] = a[1], a[0] + 0.5

    assert list(nearest_rows(a, b))[:2] == [1, 0]


@pytest.mark.parametrize("component", [0, 3, 4, 5])
def test_a_changed_row_is_a_difference(component: int):
    b = rows()
    b[2, component] += 1

    worst = compared(rows(), b)

    assert any(part.max_abs > part.max_abs_allowed for part in worst.result())


def test_ties_for_the_last_place_are_rounding():
    a, b = rows(), rows()
    a[-1, 4] = b[-1, 4] = 0.1
    b[-1, :4] += 50

    assert max(part.max_abs for part in compared(a, b).result()) == 0


def test_a_suppression_may_decide_a_tie_otherwise_but_not_invent_a_box():
    a, b = rows(), rows()
    spare = rows()[3] + [30, 30, 30, 30, 0, 0]
    b[3] = spare
    pool = np.concatenate([a, spare[None]])

    known = align(a, b, LIMITS, pool)
    invented = align(a, b, LIMITS, a)

    assert (known.flipped, known.rows) == (1, 8)
    assert np.array_equal(known.artefact, a)
    assert invented.flipped == 0
    assert not np.array_equal(invented.artefact, a)


def test_candidates_are_boxes_by_their_corners_with_the_best_class():
    raw = np.array([[10.0], [20.0], [4.0], [6.0], [0.1], [0.7]])

    assert candidates(raw).tolist() == [[8.0, 17.0, 12.0, 23.0, 0.7, 1.0]]


def test_a_class_that_ties_with_the_best_is_a_candidate_too_and_an_empty_anchor_is_none():
    raw = np.array([[10.0, 50.0], [20.0, 50.0], [4.0, 4.0], [6.0, 4.0], [0.7, 1e-6], [0.7 - 1e-5, 0.0], [0.6, 0.0]])

    assert candidates(raw)[:, 5].tolist() == [0.0, 1.0]


def test_a_tie_of_classes_that_rounding_decides_is_no_difference_but_another_class_is():
    a = rows()
    b = a.copy()
    b[2, 5] = 9
    tied = np.concatenate([a, b[2:3]])

    assert max(part.max_abs for part in compared(a, b, tied).result()) == 0
    assert any(part.max_abs > part.max_abs_allowed for part in compared(a, b, a).result())
