"""Sets of queries against transformers' own post-processing, on random outputs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import DetrImageProcessor, RTDetrImageProcessor

from processing.decoders.detr import sigmoid
from processing.pipeline import Pipeline, Prediction

from .samples import metadata, picture

OUTPUTS = {
    name: {"name": name, "shape": [1, 50, 4], "dtype": "float32", "format": "raw"} for name in ("logits", "pred_boxes")
}


def pipeline(decoder: str, **changes: object) -> Pipeline:
    resize = {"method": "stretch", "size": [64, 96], "kernel": "pil_bilinear"}
    nms = {"enabled": False, "confidence_threshold": 0.5, "max_detections": 300}
    given = {"preprocessing__resize": resize, "postprocessing__nms": nms, "output_spec": OUTPUTS} | changes
    return Pipeline.from_metadata(metadata(decoder, names=7, **given))


def raw(classes: int, seed: int, queries: int = 50) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = rng.random((1, queries, 4), dtype=np.float32) * np.float32(0.5) + np.float32([0.2, 0.2, 0, 0])
    return {"logits": rng.normal(size=(1, queries, classes)).astype(np.float32) * 2, "pred_boxes": boxes}


def rows(found: list[Prediction]) -> np.ndarray:
    return np.array(sorted([p.confidence, p.class_id, *p.bbox] for p in found))


def theirs(processor, outputs, source, threshold) -> np.ndarray:
    tensors = {name: torch.from_numpy(value) for name, value in outputs.items()}
    (found,) = processor.post_process_object_detection(
        SimpleNamespace(**tensors), threshold=threshold, target_sizes=torch.tensor([source])
    )
    height, width = source
    boxes = found["boxes"].clamp(torch.zeros(4), torch.tensor([width, height, width, height]))
    table = zip(found["scores"].tolist(), found["labels"].tolist(), boxes.tolist(), strict=True)
    return np.array(sorted([score, label, *box] for score, label, box in table))


@pytest.mark.parametrize("source", [(123, 77), (64, 96), (40, 300)])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize(
    ("decoder", "processor", "classes"),
    [("detr_softmax", DetrImageProcessor(), 8), ("detr_sigmoid", RTDetrImageProcessor(), 7)],
)
def test_detections_equal_transformers(decoder, processor, classes, threshold, source):
    model, outputs = pipeline(decoder), raw(classes, seed=4)
    _, geometry = model.preprocess(picture(*source))
    got = model.postprocess(outputs, geometry, confidence=threshold)
    expected = theirs(processor, outputs, source, threshold)
    assert len(expected) > 10
    np.testing.assert_allclose(rows(got), expected, rtol=1e-5, atol=1e-4)
    assert [p.confidence for p in got] == sorted((p.confidence for p in got), reverse=True)


def test_the_best_pairs_are_as_many_as_the_queries():
    """A query may be there with two classes, and then the worst pair of another has no place."""
    outputs = raw(7, seed=5, queries=4)
    outputs["logits"][0, 0] = 9
    model = pipeline("detr_sigmoid")
    _, geometry = model.preprocess(picture(64, 96))
    got = model.postprocess(outputs, geometry, confidence=0.0)
    assert len(got) == 4
    assert {p.class_id for p in got} == {0, 1, 2, 3}
    assert len({p.bbox for p in got}) == 1


def test_a_set_is_suppressed_only_where_that_is_asked_for():
    outputs = {"logits": np.array([[[3, -9, -9], [2, -9, -9]]], np.float32), "pred_boxes": np.full((1, 2, 4), 0.5)}
    model = pipeline("detr_sigmoid")
    _, geometry = model.preprocess(picture(64, 96))
    assert len(model.postprocess(outputs, geometry)) == 2
    assert len(model.postprocess(outputs, geometry, iou=0.5)) == 1
    assert len(model.postprocess(outputs, geometry, max_detections=1)) == 1
    assert len(model.postprocess(outputs, geometry, confidence=0.9)) == 1


def test_sigmoid_does_not_overflow():
    given = np.array([-1e4, -3, 0, 3, 1e4], np.float32)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(given), torch.from_numpy(given).sigmoid().numpy(), rtol=1e-6)
