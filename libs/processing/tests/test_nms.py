"""Suppression against torchvision, on boxes that overlap a lot."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from processing import nms


def boxes(count: int, seed: int, *, spread: float = 60.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores = np.round(rng.random(count), 2).astype(np.float32)  # rounded, so that equal scores are common
    return xyxy, scores, rng.integers(0, 3, count)


def reference(xyxy, scores, classes, iou, *, agnostic):
    shift = 0 if agnostic else classes.astype(np.float32)[:, None] * 7680
    return torchvision.ops.nms(torch.from_numpy(xyxy + np.float32(shift)), torch.from_numpy(scores), iou).numpy()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 700), st.integers(0, 2**16), st.sampled_from([0.0, 0.3, 0.45, 0.7, 1.0]), st.booleans())
def test_equals_torchvision(count, seed, iou, agnostic):
    xyxy, scores, classes = boxes(count, seed)
    kept = nms.suppress(xyxy, scores, classes, iou, 10_000, agnostic=agnostic)
    np.testing.assert_array_equal(kept, reference(xyxy, scores, classes, iou, agnostic=agnostic))


def test_the_limit_cuts_the_worst():
    xyxy, scores, classes = boxes(3000, 1, spread=2000)
    everything = nms.suppress(xyxy, scores, classes, 0.5, 10_000)
    np.testing.assert_array_equal(nms.suppress(xyxy, scores, classes, 0.5, 300), everything[:300])


def test_a_chain_keeps_what_its_suppressed_neighbour_would_have_removed():
    xyxy = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    kept = nms.suppress(xyxy, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, int), 0.3, 10)
    assert kept.tolist() == [0, 2]


@pytest.mark.parametrize(("iou", "expected"), [(0.5, [0, 1]), (0.49, [0])])
def test_exactly_the_threshold_is_kept(iou, expected):
    xyxy = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], np.float32)
    assert nms.suppress(xyxy, np.array([0.9, 0.8], np.float32), np.zeros(2, int), iou, 10).tolist() == expected


def test_empty_boxes_do_not_suppress():
    xyxy = np.zeros((3, 4), np.float32)
    assert nms.suppress(xyxy, np.ones(3, np.float32), np.zeros(3, int), 0.5, 10).tolist() == [0, 1, 2]
