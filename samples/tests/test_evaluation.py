import numpy as np
import pytest

from samples import evaluation, overlaps
from samples.evaluation import METRICS
from samples.overlaps import Prediction
from samples.scenes import Scene, Truth, mask


def square(class_id: int, x: float, y: float, side: float = 10) -> Truth:
    """A square with everything that can be told of it."""
    corners = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    half = side / 2
    return Truth(
        class_id=class_id,
        box=(x, y, x + side, y + side),
        outline=corners,
        keypoints=corners[:3],
        rotated=(x + half, y + half, side, side, 0.0),
    )


def scene(*truths: Truth, size: tuple[int, int] = (60, 40)) -> Scene:
    return Scene(np.zeros((size[1], size[0], 3), np.uint8), truths)


def told(truth: Truth, confidence: float = 0.9, class_id: int | None = None) -> Prediction:
    assert truth.rotated is not None
    return Prediction(
        class_id=truth.class_id if class_id is None else class_id,
        confidence=confidence,
        bbox=truth.box,
        rotated_box=truth.rotated,
        keypoints=[(x, y, 1.0) for x, y in truth.keypoints],
        mask=overlaps.runs(mask(truth.outline, 60, 40)),
    )


DETECTION = ("object_detection", "instance_segmentation", "pose_estimation", "oriented_detection")


@pytest.mark.parametrize("task", DETECTION)
def test_all_found_is_one_and_nothing_found_is_nothing(task: str) -> None:
    given = scene(square(0, 2, 2), square(1, 30, 20))
    assert METRICS[task](lambda picture: [told(truth) for truth in given.truths], [given]) == 1
    assert METRICS[task](lambda picture: [], [given]) == 0


@pytest.mark.parametrize("task", DETECTION)
def test_a_prediction_must_lie_on_its_object_and_name_it(task: str) -> None:
    given = scene(square(0, 2, 2), square(1, 30, 20))
    away = [told(square(0, 40, 2)), told(square(1, 2, 25))]
    swapped = [told(given.truths[0], class_id=1), told(given.truths[1], class_id=0)]
    assert METRICS[task](lambda picture: away, [given]) == 0
    assert METRICS[task](lambda picture: swapped, [given]) == 0


def test_average_precision_of_a_case_worked_out_by_hand() -> None:
    """Right, wrong, right of four: precision 1 up to recall 1/4, 2/3 up to 2/4, then nothing."""
    given = scene(*(square(0, x, y) for x in (0, 30) for y in (0, 20)))
    answer = [told(given.truths[0], 0.9), told(square(0, 15, 10), 0.8), told(given.truths[1], 0.7)]
    expected = (26 * 1 + 25 * 2 / 3) / 101
    assert METRICS["object_detection"](lambda picture: answer, [given]) == pytest.approx(expected)


def test_an_object_found_twice_counts_once() -> None:
    given = scene(square(0, 0, 0), square(0, 30, 20))
    twice = [told(given.truths[0], 0.9), told(given.truths[0], 0.8)]
    assert METRICS["object_detection"](lambda picture: twice, [given]) == pytest.approx(51 / 101)


def test_doubtful_predictions_come_after_those_of_other_pictures() -> None:
    """The wrong one is less certain than the right one of the other picture: precision stays 1 until all is found."""
    first, second = scene(square(0, 0, 0)), scene(square(0, 30, 20), size=(60, 41))
    answers = {40: [told(first.truths[0], 0.9), told(square(0, 40, 20), 0.2)], 41: [told(second.truths[0], 0.5)]}
    assert METRICS["object_detection"](lambda picture: answers[len(picture)], [first, second]) == 1


def test_classes_that_do_not_occur_count_for_nothing() -> None:
    given = scene(square(0, 0, 0))
    answer = [told(given.truths[0]), told(square(2, 30, 20))]
    assert METRICS["object_detection"](lambda picture: answer, [given]) == 1


@pytest.mark.parametrize(("shift", "iou"), [(0, 1.0), (5, 50 / 150), (10, 0.0)])
def test_boxes_masks_and_rotated_boxes_agree_on_upright_squares(shift: float, iou: float) -> None:
    truth, moved = square(0, 2, 2), told(square(0, 2 + shift, 2))
    for overlap in (overlaps.of_boxes, overlaps.of_masks, overlaps.of_rotated_boxes):
        assert overlap(moved, truth, scene(truth)) == pytest.approx(iou)


def test_rotated_boxes_are_cut_as_polygons() -> None:
    """A square turned by 45 degrees shares an octagon with itself upright."""
    truth = square(0, 2, 2)
    turned = Prediction(class_id=0, confidence=1, bbox=None, rotated_box=(7, 7, 10, 10, np.pi / 4))
    octagon = 100 * 2 * (np.sqrt(2) - 1)
    iou = overlaps.of_rotated_boxes(turned, truth, scene(truth))
    assert iou == pytest.approx(octagon / (200 - octagon))


def test_rotated_boxes_are_the_same_half_a_turn_and_sides_swapped() -> None:
    truth = Truth(class_id=0, box=(0, 0, 1, 1), outline=(), rotated=(20, 20, 16, 6, 0.4))
    for other in ((20, 20, 16, 6, 0.4 + np.pi), (20, 20, 6, 16, 0.4 + np.pi / 2)):
        prediction = Prediction(class_id=0, confidence=1, bbox=None, rotated_box=other)
        assert overlaps.of_rotated_boxes(prediction, truth, scene(truth)) == pytest.approx(1)


def test_key_points_are_forgiven_by_the_size_of_the_object() -> None:
    truth = square(0, 2, 2)
    off = Prediction(class_id=0, confidence=1, bbox=None, keypoints=[(x + 2, y, 1) for x, y in truth.keypoints])
    expected = np.exp(-4 / (2 * (2 / 3) ** 2 * 0.53 * 100))
    assert overlaps.of_keypoints(off, truth, scene(truth)) == pytest.approx(expected)


def test_run_lengths_go_down_the_columns() -> None:
    runs = overlaps.RunLengths(size=[2, 3], counts=[1, 2, 3])
    assert overlaps.pixels(runs).tolist() == [[False, True, False], [True, False, False]]
    with pytest.raises(ValueError, match="runs of 5 pixels"):
        overlaps.pixels(overlaps.RunLengths(size=[2, 3], counts=[5]))


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_come_back(seed: int) -> None:
    found = np.random.default_rng(seed).random((5, 7)) < 0.5
    told = overlaps.runs(found)
    assert np.array_equal(overlaps.pixels(told), found)
    assert (told["counts"][0] == 0) is bool(found[0, 0])


def test_accuracy_takes_the_most_confident() -> None:
    given = [scene(square(1, 0, 0)), scene(square(0, 0, 0))]
    answer = [told(square(0, 0, 0), 0.3), told(square(1, 0, 0), 0.7)]
    assert evaluation.accuracy(lambda picture: answer, given) == 0.5


def test_mean_iou_counts_the_pixels_of_all_pictures() -> None:
    """Half of the square is missed; those pixels are told to be ground."""
    given = scene(square(0, 2, 2))
    half = mask(((2, 2), (7, 2), (7, 12), (2, 12)), 60, 40)
    answer = [
        Prediction(class_id=0, confidence=1, bbox=None, mask=overlaps.runs(~half)),
        Prediction(class_id=1, confidence=1, bbox=None, mask=overlaps.runs(half)),
    ]
    expected = (50 / 100 + 2300 / 2350) / 2
    assert METRICS["semantic_segmentation"](lambda picture: answer, [given]) == pytest.approx(expected)


def test_mean_iou_counts_a_class_that_is_told_but_not_there() -> None:
    given = scene(square(0, 2, 2))
    everywhere = np.ones((40, 60), bool)
    answer = [Prediction(class_id=3, confidence=1, bbox=None, mask=overlaps.runs(everywhere))]
    assert evaluation.mean_iou(lambda picture: answer, [given]) == 0
