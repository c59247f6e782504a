"""Decoders at their edges: more candidates than are ever compared, ties alone, classes that are no classes."""

import numpy as np
import pytest

from processing.decoders import DECODERS

from ..kotlin.test_postprocessing import Both, described, outputs_of

MANY = 31_000
"""More than suppression looks at."""


@pytest.mark.parametrize("decoder", [name for name, row in DECODERS.items() if row.kind == "objects"])
def test_more_candidates_than_are_compared(probe, written, tmp_path, decoder):
    both = Both(probe, tmp_path, written, described(decoder))
    arrays = outputs_of(decoder, np.random.default_rng(3), MANY)
    assert both.ask(arrays, (97, 131), confidence=0.0001, max_detections=20)


@pytest.mark.parametrize("decoder", ["yolo_v8", "yolo_v8_pose", "yolo_end2end", "yolo_end2end_pose"])
def test_predictions_of_plain_arithmetic_are_equal_to_the_bit(probe, written, tmp_path, decoder):
    both = Both(probe, tmp_path, written, described(decoder))
    heard = []
    ask = both.probe.ask
    both.probe = type("Listening", (), {"ask": staticmethod(lambda *a, **k: heard.append(ask(*a, **k)) or heard[-1])})
    expected = both.ask(outputs_of(decoder, np.random.default_rng(4), 400), (333, 251), confidence=0.01)
    assert len(expected) > 20
    assert [list(p["bbox"]) for p in expected] == [p["bbox"] for p in heard[0]]
    assert [p["confidence"] for p in expected] == [p["confidence"] for p in heard[0]]


def test_candidates_that_all_tie_keep_their_order(probe, written, tmp_path):
    both = Both(probe, tmp_path, written, described("yolo_v8"))
    arrays = outputs_of("yolo_v8", np.random.default_rng(5), 200)
    arrays[0][0, 4:] = 0.5
    assert both.ask(arrays, (97, 131), iou=0.9)


@pytest.mark.parametrize("number", [-1.0, 4.9, 5e9, -3e18, 99.0])
def test_classes_that_nobody_lists_are_called_by_their_number(probe, written, tmp_path, number):
    both = Both(probe, tmp_path, written, described("yolo_end2end"))
    arrays = outputs_of("yolo_end2end", np.random.default_rng(6), 30)
    arrays[0][0, :, 5] = number
    assert both.ask(arrays, (97, 131), confidence=0.1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_class_that_is_no_number_harms_nothing(probe, written, tmp_path, poison):
    both = Both(probe, tmp_path, written, described("yolo_end2end"))
    arrays = outputs_of("yolo_end2end", np.random.default_rng(6), 30)
    arrays[0][0, :, 5] = poison
    assert both.ask(arrays, (97, 131), confidence=0.1)
