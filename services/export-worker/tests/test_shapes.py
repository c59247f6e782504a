"""Masks, keypoints and angles: what rounding moves is the same prediction, what a fault moves is not."""

import math

import numpy as np
import pytest

from contracts.vocabulary import ExportFormat
from export_worker.loaded import Found
from export_worker.parity.matching import Match, match
from export_worker.parity.shapes import apart, contour, corners, rotated_iou
from export_worker.parity.tolerances import tolerance

LIMITS = tolerance(ExportFormat.ONNX)


def compare(source: list[Found], artefact: list[Found], *, regions: bool = False) -> Match:
    return match(source, artefact, LIMITS, threshold=0.01, default=0.25, limit=300, regions=regions)


def disc(radius: float, cx: int = 150, cy: int = 140, side: int = 300) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side]
    return (x - cx) ** 2 + (y - cy) ** 2 <= radius**2


def masked(mask: np.ndarray, confidence: float = 0.9) -> Found:
    return Found(0, confidence, (20.0, 10.0, 290.0, 290.0), mask=mask)


@pytest.mark.parametrize("radius", [3, 5, 20, 130])
def test_a_mask_that_is_shifted_by_a_pixel_is_another(radius: int):
    made = compare([masked(disc(radius))], [masked(disc(radius, cx=151))])

    assert (made.matched, made.strict) == (0, 2)


@pytest.mark.parametrize("radius", [3, 5, 20, 130])
def test_a_pixel_that_rounding_decides_is_no_difference(radius: int):
    other = disc(radius)
    other[140, 150 + radius] = False

    made = compare([masked(disc(radius))], [masked(other)])

    assert made.matched == 1
    assert made.min_mask_iou is None if radius < 4 else made.min_mask_iou < 1


def test_a_mask_that_is_missing_is_a_difference_but_not_where_it_was_a_pixel():
    speck = np.zeros((300, 300), np.bool_)
    speck[20, 30] = True

    assert compare([masked(speck)], []).edge == 1
    assert compare([masked(disc(2))], []).strict == 1


def test_a_mask_of_another_size_or_none_is_a_difference():
    assert compare([masked(disc(9))], [masked(disc(9, side=301))]).matched == 0
    assert compare([masked(disc(9))], [masked(disc(9))._replace(mask=None)]).matched == 0


def test_only_the_outer_pixels_are_contour():
    assert contour(np.ones((5, 7), np.bool_)).sum() == 2 * 7 + 2 * 3
    assert contour(np.ones((1, 3), np.bool_)).sum() == 3


def person(points: np.ndarray, confidence: float = 0.9) -> Found:
    return Found(0, confidence, (10.0, 10.0, 60.0, 90.0), keypoints=points)


POINTS = np.array([[20, 30, 0.9], [25, 60, 0.8], [22, 31, 0.7]], np.float32)


def test_keypoints_within_a_tenth_of_a_pixel_are_the_same():
    made = compare([person(POINTS)], [person(POINTS + np.array([0.05, 0, 5e-5], np.float32))])

    assert made.matched == 1
    assert made.max_keypoint == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(
    "other",
    [POINTS[[2, 1, 0]], POINTS + np.array([0.2, 0, 0]), POINTS - np.array([0, 0, 0.01]), POINTS[:2]],
    ids=["swapped", "moved", "visibility", "fewer"],
)
def test_other_keypoints_are_another_prediction(other: np.ndarray):
    made = compare([person(POINTS)], [person(other.astype(np.float32))])

    assert (made.matched, made.strict) == (0, 2)


def turned(cx: float, cy: float, w: float, h: float, angle: float) -> Found:
    (edges,) = corners(np.array([[cx, cy, w, h, angle]]))
    box = (min(edges[::2]), min(edges[1::2]), max(edges[::2]), max(edges[1::2]))
    return Found(0, 0.9, box, rotated=(cx, cy, w, h, angle))


@pytest.mark.parametrize(("w", "h"), [(40.0, 40.0), (80.0, 12.0), (300.0, 200.0)])
def test_an_angle_of_a_twentieth_radian_is_another_box(w: float, h: float):
    made = compare([turned(100, 90, w, h, 0.4)], [turned(100, 90, w, h, 0.45)])

    assert (made.matched, made.strict) == (0, 2)


def test_a_quarter_turn_of_an_oblong_box_is_another_though_its_centre_and_sides_are_the_same():
    assert compare([turned(100, 90, 60, 20, 0.3)], [turned(100, 90, 60, 20, 0.3 + math.pi / 2)]).matched == 0


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_rotated_boxes_within_rounding_are_the_same(scale: float):
    moved = turned(100 * scale, 90 * scale + 0.05 * scale, 60 * scale, 41 * scale, 0.4001)

    made = compare([turned(100 * scale, 90 * scale, 60 * scale, 41 * scale, 0.4)], [moved])

    assert made.matched == 1
    assert made.min_iou == pytest.approx(1 - 2 * 0.05 / 45, abs=2e-3)
    assert made.max_pixels == pytest.approx(0.05 * scale, rel=0.2)


def test_the_overlap_of_rotated_boxes_is_that_of_their_areas():
    square, half, diamond, far = corners(
        np.array([[5, 5, 4, 4, 0], [6, 5, 2, 4, 0], [5, 5, 4, 4, math.pi / 4], [50, 5, 4, 4, 0.1]])
    )

    assert rotated_iou(square, square) == pytest.approx(1)
    assert rotated_iou(square, half) == pytest.approx(0.5)
    octagon = 16 * 2 * (math.sqrt(2) - 1)
    assert rotated_iou(square, diamond) == pytest.approx(octagon / (32 - octagon))
    assert rotated_iou(square, far) == 0
    assert rotated_iou(np.zeros(8), np.zeros(8)) == 0


def region(mask: np.ndarray, class_id: int = 0) -> Found:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Found(class_id, 0.8, box, mask=mask)


def test_a_region_is_judged_by_its_pixels_and_not_by_the_box_that_one_of_them_changes():
    stray = disc(40)
    stray[299, 299] = True

    made = compare([region(disc(40))], [region(stray)], regions=True)

    assert (made.matched, made.min_iou, made.max_pixels) == (1, None, None)
    assert compare([region(disc(40))], [region(disc(40, cy=141))], regions=True).strict == 2
    assert compare([region(disc(40))], [region(disc(40), class_id=1)], regions=True).strict == 2


def test_pixels_outside_of_the_boxes_are_not_looked_for():
    a, b = masked(disc(20)), masked(disc(20))

    assert apart(a._replace(box=(140.0, 130.0, 141.0, 131.0)), b).strays == 0
