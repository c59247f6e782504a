"""Run lengths, semantic maps against transformers, and what masks may cost."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SegformerImageProcessor

from processing import instances, masks, regions
from processing.bilinear import resample, taps
from processing.errors import AnswerError, MetadataError, OptionError
from processing.pipeline import Pipeline

from .samples import metadata, picture

SIDES = st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_resampling_equals_torch(height, width, rows, columns, seed):
    planes = np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(planes[None]), (rows, columns), mode="bilinear")[0].numpy()
    whole = resample(planes, taps(height, rows), taps(width, columns))
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=2e-5)
    part = resample(planes, taps(height, rows).part(rows // 2, rows), taps(width, columns).part(columns // 3, columns))
    np.testing.assert_array_equal(part, whole[:, rows // 2 :, columns // 3 :])


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), st.integers(0, 99))
def test_runs_hold_the_pixels(height, width, top, left, density, seed):
    region = np.random.default_rng(seed).random((height, width)) < density
    whole = np.zeros((height + top, width + left), np.bool_)
    whole[top:, left:] = region
    mask = masks.encode(region, top, left, whole.shape)
    np.testing.assert_array_equal(mask.array(), whole)
    assert mask.area == whole.sum()
    assert sum(mask.counts) == whole.size
    assert all(count > 0 for count in mask.counts[1:]), "one run is one number"
    assert mask.as_dict() == {"size": list(whole.shape), "counts": list(mask.counts)}


def test_runs_go_down_the_columns_and_begin_outside():
    assert masks.encode(np.array([[1, 0], [1, 1]], bool), 0, 0, (2, 2)).counts == (0, 2, 1, 1)
    assert masks.encode(np.array([[1]], bool), 1, 2, (2, 4)).counts == (5, 1, 2)


def semantic(classes: int = 4) -> Pipeline:
    resize = {"method": "stretch", "size": [64, 96], "kernel": "pil_bilinear"}
    return Pipeline.from_metadata(metadata("semantic_logits", names=classes, preprocessing__resize=resize))


def logits(classes: int, seed: int, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, classes, height, width)).astype(np.float32) * 3


@pytest.mark.parametrize("source", [(123, 77), (16, 24), (9, 300), (5, 4)])
@pytest.mark.parametrize("tile", [64, regions._TILE])
def test_semantic_maps_equal_transformers(source, tile, monkeypatch):
    monkeypatch.setattr(regions, "_TILE", tile)
    raw, model = logits(4, seed=6), semantic()
    (expected,) = SegformerImageProcessor().post_process_semantic_segmentation(
        SimpleNamespace(logits=torch.from_numpy(raw)), [source]
    )
    likely = F.interpolate(torch.from_numpy(raw), source, mode="bilinear").softmax(1)[0].numpy()
    _, geometry = model.preprocess(picture(*source))
    got = model.postprocess({"output0": raw}, geometry)
    made = np.full(source, -1)
    for found in got:
        inside = found.mask.array()
        made[inside] = found.class_id
        assert found.confidence == pytest.approx(likely[found.class_id][inside].mean(), rel=1e-4)
        ys, xs = np.nonzero(inside)
        assert found.bbox == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert found.class_name == f"class {found.class_id}"
    assert (made != expected.numpy()).mean() < 1e-4, "only where two classes round to equal"
    areas = [found.mask.area for found in got]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == made.size


def test_options_of_semantic_maps():
    model, raw = semantic(), logits(4, seed=6)
    _, geometry = model.preprocess(picture(30, 40))
    everything = model.postprocess({"output0": raw}, geometry)
    assert len(everything) == 4
    assert model.postprocess({"output0": raw}, geometry, max_detections=2) == everything[:2]
    middle = sorted(p.confidence for p in everything)[1]
    assert len(model.postprocess({"output0": raw}, geometry, confidence=middle)) == 2
    for options in ({"iou": 0.5}, {"top_k": 3}):
        with pytest.raises(OptionError):
            model.postprocess({"output0": raw}, geometry, **options)


def test_too_many_classes_times_pixels_are_refused():
    with pytest.raises(AnswerError, match="too many") as caught:
        regions.regions(np.zeros((600, 2, 2), np.float32), (4096, 4096))
    assert caught.value.code == "answer_too_large"


def test_masks_of_noise_are_refused(monkeypatch):
    monkeypatch.setattr(masks, "MAX_RUNS", 5000)
    noise = np.random.default_rng(0).normal(size=(1, 40, 60)).astype(np.float32)
    box = np.array([[0, 0, 240, 160]], np.float32)
    with pytest.raises(AnswerError, match="max_detections"):
        instances.instance_masks(np.ones((9, 1), np.float32), noise, np.repeat(box, 9, axis=0), (160, 240))
    with pytest.raises(AnswerError):
        regions.regions(np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32), (300, 300))


def test_a_hundred_masks_of_a_large_picture_need_little_memory():
    """Of one box at a time: all masks of this picture as pixels would be 1.6 GB."""
    y, x = np.mgrid[-1:1:160j, -1:1:160j].astype(np.float32)
    prototypes = np.stack([0.5 - x * x - y * y, x, y])
    coefficients = np.tile(np.array([[1, 0.1, 0.1]], np.float32), (100, 1))
    boxes = np.tile(np.array([[1000, 1000, 3000, 3100]], np.float32), (100, 1))
    boxes[0] = [0, 0, 4096, 4096]
    tracemalloc.start()
    made = instances.instance_masks(coefficients, prototypes, boxes, (4096, 4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(mask is not None and mask.area > 1e6 for mask in made)
    assert peak < 260 << 20, f"{peak >> 20} MiB"


def test_boxes_that_are_no_numbers_have_no_mask():
    boxes = np.array([[np.nan, 0, 9, 9], [0, 0, np.inf, 9], [9, 9, 2, 2], [-5, -5, -1, -1], [0, 0, 9, 9]], np.float32)
    made = instances.instance_masks(np.ones((5, 1), np.float32), np.ones((1, 4, 4), np.float32), boxes, (16, 16))
    assert [mask is None for mask in made] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("decoder", "changes", "field"),
    [
        ("yolo_v8_segment", {}, "output_spec"),
        ("detr_sigmoid", {}, "output_spec"),
        ("yolo_v8_pose", {}, "postprocessing.keypoint_shape"),
        ("yolo_v8_pose", {"postprocessing__keypoint_shape": [17]}, "postprocessing.keypoint_shape"),
        ("yolo_v8_pose", {"postprocessing__keypoint_shape": [17, 4]}, "postprocessing.keypoint_shape.1"),
        ("yolo_v8_segment", {"preprocessing__resize__method": "stretch"}, "preprocessing.resize"),
    ],
)
def test_metadata_that_lacks_what_its_decoder_needs(decoder, changes, field):
    two = {name: {"name": name} for name in ("a", "b")}
    given = changes if field == "output_spec" else {**changes, "output_spec": two}
    with pytest.raises(MetadataError) as error:
        Pipeline.from_metadata(metadata(decoder, **given))
    assert error.value.field == field
