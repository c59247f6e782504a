"""Letterbox, stretch and crops against the frameworks' own transforms, to the bit."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from transformers import CLIPImageProcessorPil
from ultralytics.data.augment import LetterBox
from ultralytics.utils.ops import scale_boxes

from processing.geometry import Geometry, Resize, fit

SIDE = st.integers(1, 130)
INPUTS = st.sampled_from([(64, 64), (32, 96), (96, 64), (65, 33)])
KERNELS = {
    "pil_bilinear": transforms.InterpolationMode.BILINEAR,
    "pil_bicubic": transforms.InterpolationMode.BICUBIC,
    "pil_nearest": transforms.InterpolationMode.NEAREST,
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=200, deadline=None)
@given(SIDE, SIDE, INPUTS, st.booleans(), st.booleans())
@example(1, 3000, (64, 64), True, True)
@example(128, 128, (64, 64), True, True)
def test_letterbox_equals_ultralytics(height, width, size, scale_up, center):
    image = picture(height, width)
    spec = Resize("letterbox", size, "cv2_linear_u8", scale_up=scale_up, center=center)
    got, geometry = fit(image, spec)
    expected = LetterBox(size, auto=False, scaleup=scale_up, center=center)(image=image)
    np.testing.assert_array_equal(got, expected)
    assert geometry.source == (height, width)


@settings(max_examples=100, deadline=None)
@given(SIDE, SIDE, INPUTS, st.integers(0, 2**16))
def test_boxes_come_back_as_in_ultralytics(height, width, size, seed):
    _, geometry = fit(picture(height, width), Resize("letterbox", size, "cv2_linear_u8"))
    boxes = np.random.default_rng(seed).uniform(-20, 150, (40, 4)).astype(np.float32)
    np.testing.assert_array_equal(geometry.to_source(boxes), scale_boxes(size, boxes.copy(), (height, width)))


@settings(max_examples=200, deadline=None)
@given(SIDE, SIDE, st.integers(8, 80), INPUTS, st.sampled_from(list(KERNELS)))
@example(99, 130, 71, (64, 64), "pil_bilinear")
@example(40, 40, 30, (65, 33), "pil_bilinear")
def test_short_side_crop_equals_torchvision(height, width, short, size, kernel):
    image = picture(height, width)
    spec = Resize("short_side_crop", size, kernel, resize_to=(short, short))
    reference = transforms.Compose([transforms.Resize(short, KERNELS[kernel]), transforms.CenterCrop(size)])
    got, _ = fit(image, spec)
    np.testing.assert_array_equal(got, np.asarray(reference(Image.fromarray(image))))


@settings(max_examples=60, deadline=None)
@given(SIDE, SIDE, INPUTS, INPUTS, st.sampled_from(list(KERNELS)))
def test_stretch_and_stretch_crop_equal_torchvision(height, width, size, before, kernel):
    image = picture(height, width)
    resize = transforms.Resize(before, KERNELS[kernel])
    got, _ = fit(image, Resize("stretch", before, kernel))
    np.testing.assert_array_equal(got, np.asarray(resize(Image.fromarray(image))))
    got, _ = fit(image, Resize("stretch_crop", size, kernel, resize_to=before))
    reference = transforms.Compose([resize, transforms.CenterCrop(size)])
    np.testing.assert_array_equal(got, np.asarray(reference(Image.fromarray(image))))


@settings(max_examples=100, deadline=None)
@given(st.integers(20, 130), st.integers(20, 130), st.integers(25, 80))
@example(60, 33, 33)
def test_truncated_crop_equals_hugging_face(height, width, short):
    image = picture(height, width)
    crop = {"height": 24, "width": 25}
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": short}, crop_size=crop, do_rescale=False, do_normalize=False, resample=3
    )
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    spec = Resize("short_side_crop", (24, 25), "pil_bicubic", resize_to=(short, short), crop_offset="truncate")
    np.testing.assert_array_equal(fit(image, spec)[0], expected)


@pytest.mark.parametrize(
    "spec",
    [
        Resize("letterbox", (64, 96), "cv2_linear_u8"),
        Resize("letterbox", (64, 96), "cv2_linear_u8", center=False),
        Resize("stretch", (64, 96), "pil_bilinear"),
        Resize("short_side_crop", (48, 48), "pil_bicubic", resize_to=(56, 56)),
        Resize("stretch_crop", (48, 48), "pil_bicubic", resize_to=(56, 60)),
    ],
)
def test_a_box_of_the_input_lies_on_the_same_thing_in_the_source(spec):
    image = np.zeros((120, 200, 3), np.uint8)
    image[40:80, 90:110] = 255
    fitted, geometry = fit(image, spec)
    y, x = np.nonzero(fitted[..., 0] > 127 if spec.fill_value != 255 else fitted[..., 0])
    box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
    np.testing.assert_allclose(geometry.to_source(box), [[90, 40, 110, 80]], atol=2.5)


def test_boxes_are_clamped_to_the_picture():
    geometry = Geometry((50, 100), (0.5, 0.5), (10, 0))
    boxes = np.array([[-5, 0, 80, 90], [10, 15, 20, 25]], np.float32)
    np.testing.assert_array_equal(geometry.to_source(boxes), [[0, 0, 100, 50], [20, 10, 40, 30]])


def test_cv2_colours_are_not_touched():
    image = picture(30, 40)
    got, _ = fit(image, Resize("letterbox", (30, 40), "cv2_linear_u8"))
    np.testing.assert_array_equal(got, image)
    assert cv2 is not None


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 400), st.integers(8, 400), st.sampled_from(["letterbox", "stretch"]), st.integers(0, 99))
def test_what_lies_in_the_picture_comes_back_from_the_input(height, width, method, seed):
    rng = np.random.default_rng(seed)
    _, geometry = fit(picture(height, width), Resize(method, (64, 96), "cv2_linear_u8"))
    places = rng.random((9, 2)) * [width, height]
    sizes, angles = rng.random((9, 2)) * 30 + 1, rng.random((9, 1)) * np.pi
    gain, offset = np.array(geometry.gain[::-1]), np.array(geometry.offset[::-1])
    there = places * gain + offset
    points = np.concatenate([there, angles], axis=1)[:, None].astype(np.float32)
    back = geometry.points_to_source(points)[:, 0]
    np.testing.assert_allclose(back, np.concatenate([places, angles], axis=1), atol=2e-3)
    turned = np.concatenate([there, sizes * gain, angles], axis=1).astype(np.float32)
    expected = np.concatenate([places, sizes, angles], axis=1)
    np.testing.assert_allclose(geometry.rotated_to_source(turned), expected, atol=2e-3)
    upright = np.concatenate([there, there], axis=1).astype(np.float32)
    np.testing.assert_allclose(geometry.to_source(upright), np.concatenate([places, places], axis=1), atol=2e-3)


def test_keypoints_are_clamped_and_rotated_boxes_keep_their_shape():
    geometry = Geometry((50, 100), (0.5, 0.5), (10, 0))
    points = np.array([[[-5, 0, 0.3], [80, 90, 0.9]]], np.float32)
    np.testing.assert_array_equal(geometry.points_to_source(points), np.float32([[[0, 0, 0.3], [100, 50, 0.9]]]))
    boxes = np.array([[0, 0, 10, 5, 2]], np.float32)
    np.testing.assert_array_equal(geometry.rotated_to_source(boxes), [[0, -20, 20, 10, 2]])
