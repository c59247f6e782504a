"""Segmentation, pose and oriented detection against Ultralytics' own post-processing, on random outputs."""

import numpy as np
import pytest
import torch
from ultralytics.utils import ops
from ultralytics.utils.metrics import batch_probiou
from ultralytics.utils.nms import TorchNMS, non_max_suppression

from processing import rotated
from processing.errors import MetadataError
from processing.pipeline import Pipeline

from .samples import metadata, picture

INPUT = (64, 96)
OUTPUTS = {
    name: {"name": name, "shape": [1, 9, 100], "dtype": "float32", "format": "raw"} for name in ("output0", "output1")
}
SOURCES = [(123, 77), (64, 96), (40, 200), (31, 24), (333, 500)]


def pipeline(decoder: str, classes: int, **changes: object) -> Pipeline:
    return Pipeline.from_metadata(metadata(decoder, names=classes, output_spec=OUTPUTS, **changes))


def anchors(classes: int, extra: int, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.random((1, 4 + classes + extra, count), dtype=np.float32)
    raw[:, :4] *= np.array([96, 64, 40, 40], np.float32)[None, :, None]
    return raw


def end2end(rows: np.ndarray) -> np.ndarray:
    """[1, K, 6 + …] of what suppression left, padded with rows of no score, as a graph gives it."""
    return np.concatenate([rows, np.zeros((5, rows.shape[1]), np.float32)])[None]


def suppressed(raw: np.ndarray, classes: int, confidence: float, iou: float, **options: bool) -> torch.Tensor:
    (kept,) = non_max_suppression(
        torch.from_numpy(raw.copy()), confidence, iou, nc=classes, max_time_img=60, max_det=300, **options
    )
    return kept


def test_the_overlap_of_rotated_boxes_is_that_of_the_trainer():
    rng = np.random.default_rng(0)
    a, b = (rng.random((50, 5), dtype=np.float32) * np.array([90, 60, 50, 20, 3.2], np.float32) for _ in range(2))
    np.testing.assert_allclose(rotated.overlap(a, b), batch_probiou(a, b).numpy(), atol=2e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("agnostic", [False, True])
def test_suppression_of_rotated_boxes_is_that_of_the_trainer(seed, agnostic):
    rng = np.random.default_rng(seed)
    boxes = rng.random((700, 5), dtype=np.float32) * np.array([200, 150, 60, 30, 3.2], np.float32)
    scores, classes = rng.random(700, dtype=np.float32), rng.integers(0, 3, 700)
    shifted = boxes.copy()
    shifted[:, :2] += 0 if agnostic else classes[:, None].astype(np.float32) * np.float32(7680)
    for iou in (0.1, 0.45, 0.6):
        expected = TorchNMS.fast_nms(
            torch.from_numpy(shifted), torch.from_numpy(scores), iou, iou_func=batch_probiou
        ).numpy()
        assert 10 < len(expected) < 700
        kept = rotated.suppress(boxes, scores, classes, iou, 10_000, agnostic=agnostic)
        np.testing.assert_array_equal(kept, expected)
        np.testing.assert_array_equal(rotated.suppress(boxes, scores, classes, iou, 9, agnostic=agnostic), expected[:9])


def test_a_suppressed_rotated_box_still_suppresses():
    boxes = np.array([[0, 0, 10, 10, 0], [3, 0, 10, 10, 0], [6, 0, 10, 10, 0]], np.float32)
    overlaps = rotated.overlap(boxes, boxes)
    threshold = float(overlaps[0, 1] + overlaps[0, 2]) / 2
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert rotated.suppress(boxes, scores, np.zeros(3, int), threshold, 10).tolist() == [0]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("is_end2end", [False, True])
def test_oriented_boxes(source, is_end2end):
    raw = anchors(3, 1, 300, seed=1)
    raw[:, -1] = raw[:, -1] * 2.3 - 0.7
    expected = suppressed(raw, 3, 0.6, 0.45, rotated=True)
    boxes = torch.cat([expected[:, :4], expected[:, -1:]], dim=-1)
    if is_end2end:
        raw = end2end(expected.numpy())
    boxes[:, :4] = ops.scale_boxes(INPUT, boxes[:, :4], source, xywh=True)
    model = pipeline(
        "yolo_end2end_obb" if is_end2end else "yolo_v8_obb", 3, postprocessing__nms__enabled=not is_end2end
    )
    _, geometry = model.preprocess(picture(*source))
    got = model.postprocess({"output0": raw}, geometry, confidence=0.6)
    assert len(got) > 20
    np.testing.assert_array_equal(np.array([p.rotated_box for p in got], np.float32), boxes.numpy())
    assert [p.class_id for p in got] == expected[:, 5].int().tolist()
    np.testing.assert_array_equal(np.array([p.confidence for p in got], np.float32), expected[:, 4].numpy())
    corners = ops.xywhr2xyxyxyxy(boxes)
    enclosing = torch.cat([corners.amin(1), corners.amax(1)], 1).numpy()
    np.testing.assert_allclose(np.array([p.bbox for p in got]), enclosing, atol=1e-4)
    assert got[0].as_dict()["rotated_box"] == list(got[0].rotated_box)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("is_end2end", [False, True])
def test_keypoints(source, dims, is_end2end):
    raw = anchors(2, 4 * dims, 300, seed=2)
    raw[:, 6:] *= np.float32(70)
    expected = suppressed(raw, 2, 0.6, 0.45)
    if is_end2end:
        raw = end2end(expected.numpy())
    points = ops.scale_coords(INPUT, expected[:, 6:].clone().view(-1, 4, dims), source).numpy()
    boxes = ops.scale_boxes(INPUT, expected[:, :4].clone(), source).numpy()
    model = pipeline(
        "yolo_end2end_pose" if is_end2end else "yolo_v8_pose",
        2,
        postprocessing__keypoint_shape=[4, dims],
        postprocessing__nms__enabled=not is_end2end,
    )
    _, geometry = model.preprocess(picture(*source))
    got = model.postprocess({"output0": raw}, geometry, confidence=0.6)
    assert len(got) > 20
    found = np.array([p.keypoints for p in got], np.float32)
    np.testing.assert_array_equal(found[..., :dims], points)
    assert dims == 3 or (found[..., 2] == 1).all()
    np.testing.assert_array_equal(np.array([p.bbox for p in got], np.float32), boxes)
    assert np.shape(got[0].as_dict()["keypoints"]) == (4, 3)


@pytest.mark.parametrize("source", [*SOURCES, (63, 95), (37, 200), (50, 51)])
@pytest.mark.parametrize("is_end2end", [False, True])
def test_masks(source, is_end2end):
    rng = np.random.default_rng(3)
    prototypes = rng.normal(size=(1, 8, 16, 24)).astype(np.float32)
    raw = anchors(2, 8, 300, seed=3)
    raw[:, 6:] = rng.normal(size=(1, 8, 300))
    expected = suppressed(raw, 2, 0.6, 0.45)
    if is_end2end:
        raw = end2end(expected.numpy())
    boxes = ops.scale_boxes(INPUT, expected[:, :4].clone(), source)
    masks = ops.process_mask_native(torch.from_numpy(prototypes[0]), expected[:, 6:], boxes, source).numpy()
    inside = masks.any(axis=(1, 2))
    model = pipeline("yolo_end2end_segment" if is_end2end else "yolo_v8_segment", 2)
    _, geometry = model.preprocess(picture(*source))
    outputs = {"output0": raw, "output1": prototypes}
    got = model.postprocess(outputs, geometry, confidence=0.6, iou=1.0 if is_end2end else None)
    assert len(got) > 20
    np.testing.assert_array_equal(np.array([p.bbox for p in got], np.float32), boxes.numpy()[inside])
    made = np.array([p.mask.array() for p in got])
    assert made.shape == masks[inside].shape
    assert (made != masks[inside].astype(bool)).mean() < 1e-5, "only pixels whose logit rounds to another sign"
    assert masks.mean() > 0.01


@pytest.mark.parametrize(
    ("decoder", "shapes", "changes"),
    [
        ("yolo_v8_segment", [(1, 4 + 2 + 7, 9), (1, 8, 16, 24)], {}),
        ("yolo_v8_segment", [(1, 4 + 2 + 8, 9), (8, 16, 24)], {}),
        ("yolo_end2end_segment", [(1, 9, 6 + 7), (1, 8, 16, 24)], {}),
        ("yolo_v8_pose", [(1, 4 + 2 + 8, 9)], {"postprocessing__keypoint_shape": [3, 3]}),
        ("yolo_end2end_pose", [(1, 9, 14)], {"postprocessing__keypoint_shape": [3, 3]}),
        ("yolo_v8_obb", [(1, 4 + 2, 9)], {}),
        ("yolo_end2end_obb", [(1, 9, 6)], {}),
        ("detr_softmax", [(1, 9, 3), (1, 8, 4)], {}),
        ("detr_softmax", [(1, 9, 1), (1, 9, 4)], {}),
        ("detr_sigmoid", [(1, 9, 3), (1, 9, 5)], {}),
        ("semantic_logits", [(1, 3, 9)], {}),
    ],
)
def test_outputs_of_another_shape_are_refused(decoder, shapes, changes):
    model = pipeline(decoder, 2, **changes)
    _, geometry = model.preprocess(picture(20, 30))
    outputs = {f"output{i}": np.ones(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(MetadataError, match=r"postprocessing\.decoder"):
        model.postprocess(outputs, geometry)


def test_a_missing_second_output_is_named():
    model = pipeline("yolo_v8_segment", 2)
    _, geometry = model.preprocess(picture(20, 30))
    with pytest.raises(MetadataError, match="output1"):
        model.postprocess({"output0": anchors(2, 8, 9, 0)}, geometry)
