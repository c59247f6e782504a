import pytest
from demo.agreement import iou, rows

from modelport.predictions import Prediction


def found(
    class_id: int = 0, confidence: float = 0.9, box: tuple[float, float, float, float] = (0, 0, 100, 100)
) -> Prediction:
    return Prediction(class_name=str(class_id), class_id=class_id, confidence=confidence, bbox=box)


def test_equal_lists_agree_in_any_order() -> None:
    a, b = found(0), found(1, box=(200, 200, 300, 300))
    assert [row.agrees for row in rows([a, b], [b, a], [a, b])] == [True, True]


@pytest.mark.parametrize(
    "other", [found(1), found(confidence=0.85), found(box=(5, 0, 105, 100))], ids=["class", "confidence", "place"]
)
def test_another_class_confidence_or_place_is_no_agreement(other: Prediction) -> None:
    assert not all(row.agrees for row in rows([found()], [found()], [other]))


def test_what_only_one_of_them_sees_is_shown_and_is_no_agreement() -> None:
    table = rows([], [found()], [])
    assert [(row.source, row.others) for row in table] == [(None, (found(), None))]
    assert not table[0].agrees


def test_two_of_one_kind_are_not_paired_with_the_same() -> None:
    near, far = found(), found(box=(0, 0, 100, 50))
    table = rows([near, far], [far, near], [near, far])
    assert [row.others[0] for row in table] == [near, far]


def test_iou_of_halves() -> None:
    assert iou(found(), found(box=(0, 0, 100, 50))) == pytest.approx(0.5)
