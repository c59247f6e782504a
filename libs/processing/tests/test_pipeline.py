"""The whole way: normalisation and detections against torchvision, timm and Ultralytics; options and bad metadata."""

import numpy as np
import pytest
import timm.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from transformers import CLIPImageProcessorPil, ViTImageProcessor, ViTImageProcessorPil
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

from processing.errors import ImageError, MetadataError, OptionError
from processing.geometry import Geometry
from processing.pipeline import Pipeline
from processing.predictions import Prediction

from .samples import metadata, picture

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def classifier(**changes: object) -> Pipeline:
    resize = {"method": "short_side_crop", "size": [32, 32], "resize_to": [40, 40], "kernel": "pil_bicubic"}
    return Pipeline.from_metadata(metadata("softmax", preprocessing__resize=resize, **changes))


@pytest.mark.parametrize("mean_std", [(MEAN, STD), ((0.5,) * 3, (0.5,) * 3), ((0.0,) * 3, (1.0,) * 3)])
def test_tensor_equals_torchvision_to_the_bit(mean_std):
    mean, std = mean_std
    pipeline = classifier(preprocessing__normalize__mean=list(mean), preprocessing__normalize__std=list(std))
    image = picture(77, 101)
    reference = transforms.Compose(
        [
            transforms.Resize(40, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    tensor, _ = pipeline.preprocess(image)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, reference(Image.fromarray(image))[None].numpy())


def test_tensor_equals_timm_to_the_bit():
    reference = timm.data.create_transform(
        input_size=(3, 32, 32), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=0.8, crop_mode="center"
    )
    pipeline = classifier(preprocessing__normalize__mean=list(MEAN), preprocessing__normalize__std=list(STD))
    for size in ((77, 101), (300, 40), (33, 33)):
        image = picture(*size)
        tensor, _ = pipeline.preprocess(image)
        np.testing.assert_array_equal(tensor, reference(Image.fromarray(image))[None].numpy())


@pytest.mark.parametrize("resize_to", [(40, 40), None])
@pytest.mark.parametrize("size", [(77, 101), (101, 300), (33, 33)])
def test_tensor_equals_hugging_face_to_the_bit(resize_to, size):
    options = {"resample": 3, "rescale_factor": 1 / 255, "image_mean": MEAN, "image_std": STD}
    square = {"height": 32, "width": 32}
    if resize_to:
        reference = CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=square, **options)
        resize = {"method": "short_side_crop", "size": [32, 32], "resize_to": [40, 40], "kernel": "pil_bicubic"}
        resize["crop_offset"] = "truncate"
    else:
        reference = ViTImageProcessorPil(size=square, **options)
        resize = {"method": "stretch", "size": [32, 32], "kernel": "pil_bicubic"}
    pipeline = Pipeline.from_metadata(
        metadata(
            "softmax",
            preprocessing__resize=resize,
            preprocessing__normalize__mean=list(MEAN),
            preprocessing__normalize__std=list(STD),
        )
    )
    image = picture(*size)
    tensor, _ = pipeline.preprocess(image)
    np.testing.assert_array_equal(tensor, reference(Image.fromarray(image), return_tensors="np")["pixel_values"])


def test_the_torchvision_backend_of_hugging_face_is_near_but_not_equal():
    options = {"size": {"height": 32, "width": 32}, "resample": 3, "do_rescale": False, "do_normalize": False}
    image = Image.fromarray(picture(77, 101))
    pil, fast = (
        kind(**options)(image, return_tensors="np")["pixel_values"].astype(int)
        for kind in (ViTImageProcessorPil, ViTImageProcessor)
    )
    assert 0 < np.abs(pil - fast).max() <= 2
    assert (pil != fast).mean() < 0.02


def test_bytes_over_255_equal_the_trainers_division():
    table = Pipeline.from_metadata(metadata()).table
    np.testing.assert_array_equal(table[0], torch.arange(256, dtype=torch.float32).div(255).numpy())


def test_layouts_and_colour_orders_hold_the_same_numbers():
    image, mean, std = picture(50, 70), list(MEAN), list(STD)
    base = {"preprocessing__normalize__mean": mean, "preprocessing__normalize__std": std}
    nchw, _ = Pipeline.from_metadata(metadata(**base)).preprocess(image)
    nhwc, _ = Pipeline.from_metadata(metadata(**base, preprocessing__format__output_layout="NHWC")).preprocess(image)
    np.testing.assert_array_equal(nchw.transpose(0, 2, 3, 1), nhwc)
    assert nhwc.flags.c_contiguous
    flipped = {"preprocessing__normalize__mean": mean[::-1], "preprocessing__normalize__std": std[::-1]}
    bgr, _ = Pipeline.from_metadata(metadata(**flipped, preprocessing__format__color_space="BGR")).preprocess(image)
    np.testing.assert_array_equal(bgr, nchw[:, ::-1])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_embedded_normalisation_gives_bytes(layout):
    changes = {
        "preprocessing__normalize__embedded": True,
        "preprocessing__format__dtype": "uint8",
        "preprocessing__format__output_layout": layout,
    }
    tensor, _ = Pipeline.from_metadata(metadata(**changes)).preprocess(picture(50, 70))
    assert tensor.dtype == np.uint8
    assert tensor.shape == ((1, 64, 96, 3) if layout == "NHWC" else (1, 3, 64, 96))
    assert tensor.flags.c_contiguous
    plain, _ = Pipeline.from_metadata(metadata()).preprocess(picture(50, 70))
    planar = tensor if layout == "NCHW" else tensor.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(planar.astype(np.float32) / np.float32(255), plain)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16),
    st.integers(7, 600),  # six columns would be read as an end-to-end output
    st.integers(2, 6),
    st.sampled_from([0.05, 0.25, 0.6]),
    st.sampled_from([0.3, 0.45, 0.7]),
    st.sampled_from([1, 7, 300]),
)
def test_detections_equal_ultralytics(seed, anchors, classes, confidence, iou, limit):
    rng = np.random.default_rng(seed)
    raw = rng.random((1, 4 + classes, anchors), dtype=np.float32)
    raw[:, :4] *= np.array([96, 64, 40, 40], np.float32)[None, :, None]
    pipeline = Pipeline.from_metadata(metadata(names=classes))
    _, geometry = pipeline.preprocess(picture(123, 77))
    got = pipeline.postprocess({"output0": raw}, geometry, confidence=confidence, iou=iou, max_detections=limit)
    (expected,) = non_max_suppression(
        torch.from_numpy(raw.copy()), confidence, iou, max_det=limit, nc=classes, max_time_img=60
    )
    expected[:, :4] = scale_boxes((64, 96), expected[:, :4], (123, 77))
    rows = [[*p.bbox, p.confidence, p.class_id] for p in got]
    np.testing.assert_array_equal(np.array(rows, np.float32).reshape(-1, 6), expected.numpy())


def test_thresholds_default_to_the_metadata():
    raw = np.zeros((1, 9, 3), np.float32)
    raw[0, :4] = [[20, 60, 61], [20, 40, 40], [10, 10, 10], [10, 10, 10]]
    raw[0, 5] = [0.25, 0.9, 0.26]
    geometry = Geometry((64, 96), (1.0, 1.0), (0, 0))
    pipeline = Pipeline.from_metadata(metadata())
    expected = Prediction(1, "class 1", pytest.approx(0.9), (55.0, 35.0, 65.0, 45.0))
    assert pipeline.postprocess({"output0": raw}, geometry) == [expected]
    assert len(pipeline.postprocess({"output0": raw}, geometry, iou=0.9)) == 2
    assert len(pipeline.postprocess({"output0": raw}, geometry, iou=0.9, confidence=0.1)) == 3
    assert pipeline.postprocess({"output0": raw}, geometry, confidence=0.95) == []
    assert len(pipeline.postprocess({"output0": raw.astype(np.float16)}, geometry)) == 1


def end2end(**changes: object) -> tuple[Pipeline, dict[str, np.ndarray], Geometry]:
    rows = [[0, 0, 10, 10, 0.9, 1], [1, 0, 11, 10, 0.8, 1], [50, 50, 60, 60, 0.3, 0], [5, 5, 9, 9, 0.1, 0]]
    pipeline = Pipeline.from_metadata(metadata("yolo_end2end", **changes))
    return pipeline, {"output0": np.array([rows], np.float32)}, Geometry((64, 96), (1.0, 1.0), (0, 0))


@pytest.mark.parametrize("changes", [{"postprocessing__nms__embedded": True}, {"postprocessing__nms__enabled": False}])
def test_end_to_end_outputs_are_not_suppressed_again_unless_asked(changes):
    pipeline, outputs, geometry = end2end(**changes)
    assert [round(p.confidence, 1) for p in pipeline.postprocess(outputs, geometry)] == [0.9, 0.8, 0.3]
    assert [round(p.confidence, 1) for p in pipeline.postprocess(outputs, geometry, iou=0.5)] == [0.9, 0.3]
    assert len(pipeline.postprocess(outputs, geometry, max_detections=1)) == 1


def test_classes_are_sorted_and_cut():
    pipeline = classifier()
    outputs = {"output0": np.array([[1.0, 3.0, 2.0, 3.0, -1.0]], np.float32)}
    geometry = Geometry((8, 8), (1.0, 1.0), (0, 0))
    got = pipeline.postprocess(outputs, geometry)
    assert [p.class_id for p in got] == [1, 3, 2]
    expected = torch.softmax(torch.from_numpy(outputs["output0"]), 1)[0].sort(descending=True, stable=True).values
    np.testing.assert_allclose([p.confidence for p in got], expected[:3], rtol=1e-6)
    assert all(p.bbox is None for p in got)
    assert len(pipeline.postprocess(outputs, geometry, top_k=100)) == 5
    assert [p.class_id for p in pipeline.postprocess(outputs, geometry, confidence=0.3, top_k=5)] == [1, 3]
    assert got[0].as_dict() == {"class_id": 1, "class_name": "class 1", "confidence": got[0].confidence, "bbox": None}


def test_huge_logits_do_not_overflow():
    got = classifier().postprocess(
        {"output0": np.array([[1e30, -1e30, 0]], np.float32)}, Geometry((8, 8), (1, 1), (0, 0))
    )
    assert (got[0].class_id, got[0].confidence) == (0, 1.0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"confidence": 1.5}, "confidence_threshold"),
        ({"confidence": float("nan")}, "confidence_threshold"),
        ({"iou": -0.1}, "iou_threshold"),
        ({"max_detections": 0}, "max_detections"),
        ({"top_k": 3}, "top_k"),
    ],
)
def test_options_that_cannot_be_obeyed_are_refused(options, field):
    with pytest.raises(OptionError) as error:
        Pipeline.from_metadata(metadata()).postprocess({}, Geometry((8, 8), (1, 1), (0, 0)), **options)
    assert error.value.field == field


def test_detector_options_are_refused_by_classifiers():
    outputs = {"output0": np.zeros((1, 3), np.float32)}
    for options in ({"iou": 0.5}, {"max_detections": 3}):
        with pytest.raises(OptionError):
            classifier().postprocess(outputs, Geometry((8, 8), (1, 1), (0, 0)), **options)


@pytest.mark.parametrize(
    "outputs", [{"other": np.zeros((1, 9, 4))}, {"output0": np.zeros((2, 9, 4))}, {"output0": np.zeros((1, 3, 4))}]
)
def test_outputs_that_contradict_the_metadata(outputs):
    with pytest.raises(MetadataError):
        Pipeline.from_metadata(metadata()).postprocess(outputs, Geometry((8, 8), (1, 1), (0, 0)))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_pictures_of_another_shape_are_refused(image):
    with pytest.raises(ImageError):
        Pipeline.from_metadata(metadata()).preprocess(image)


def test_a_class_without_a_name_is_called_by_its_number():
    assert Pipeline.from_metadata(metadata(names=1)).class_name(7) == "7"
