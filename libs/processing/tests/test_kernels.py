"""Every kernel's numpy reference against cv2 and Pillow, to the bit."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from processing import kernels
from processing.errors import MetadataError

SIDE = st.integers(1, 97)
SIZES = st.tuples(SIDE, SIDE)
PILLOW = {
    "pil_nearest": Image.Resampling.NEAREST,
    "pil_bilinear": Image.Resampling.BILINEAR,
    "pil_bicubic": Image.Resampling.BICUBIC,
    "pil_lanczos": Image.Resampling.LANCZOS,
}


def picture(height: int, width: int, seed: int, *, smooth: bool = False) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.blur(noise, (5, 5)) if smooth else noise


def library(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    if kernel == "cv2_linear_u8":
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[kernel]))


@pytest.mark.parametrize("kernel", list(kernels.REFERENCE))
@settings(max_examples=150, deadline=None)
@given(source=SIZES, target=SIZES, seed=st.integers(0, 2**16), smooth=st.booleans())
@example(source=(64, 48), target=(32, 24), seed=1, smooth=False)
@example(source=(64, 48), target=(32, 48), seed=1, smooth=False)
@example(source=(1, 1), target=(97, 3), seed=1, smooth=False)
@example(source=(97, 61), target=(1, 1), seed=1, smooth=True)
@example(source=(31, 31), target=(31, 31), seed=1, smooth=False)
def test_reference_equals_the_library(kernel, source, target, seed, smooth):
    image = picture(*source, seed, smooth=smooth)
    np.testing.assert_array_equal(
        kernels.resize(image, target, kernel, reference=True), library(image, target, kernel), f"{source} -> {target}"
    )


@pytest.mark.parametrize("kernel", list(kernels.REFERENCE))
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((720, 1280), (405, 720)),
        ((1080, 1920), (360, 640)),
        ((333, 251), (640, 482)),
        ((480, 640), (240, 320)),
        ((99, 1777), (7, 224)),
    ],
)
def test_reference_equals_the_library_at_real_sizes(kernel, source, target):
    image = picture(*source, seed=7)
    expected = library(image, target, kernel)
    np.testing.assert_array_equal(kernels.resize(image, target, kernel, reference=True), expected)
    np.testing.assert_array_equal(kernels.resize(image, target, kernel), expected)


def test_reference_runs_where_the_library_is_missing(monkeypatch):
    image = picture(40, 30, seed=3)
    expected = {k: kernels.resize(image, (17, 23), k) for k in kernels.REFERENCE}
    monkeypatch.setattr(kernels, "cv2", None)
    monkeypatch.setattr(kernels, "pillow", None)
    for kernel, value in expected.items():
        assert not kernels.accelerated(kernel)
        np.testing.assert_array_equal(kernels.resize(image, (17, 23), kernel), value)


def test_lookup_is_the_same_with_and_without_cv2(monkeypatch):
    image = picture(13, 29, seed=5)
    table = np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32)
    fast, slow = np.empty((3, 13, 29), np.float32), np.empty((3, 13, 29), np.float32)
    kernels.lookup(image, table, fast)
    monkeypatch.setattr(kernels, "cv2", None)
    kernels.lookup(image, table, slow)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(fast[1], table[1][image[..., 1]])


def test_unknown_kernel_is_refused_by_name():
    with pytest.raises(MetadataError, match=r"preprocessing\.resize\.kernel.*'area'.*cv2_linear_u8"):
        kernels.resize(picture(4, 4, 0), (2, 2), "area")
