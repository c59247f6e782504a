"""Decoding through cv2 and through Pillow: the same pixels, upright, bounded, and no half pictures."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from processing import headers, images
from processing.errors import ImageError

BACKENDS = ("cv2", "pillow")


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    monkeypatch.setattr(images, "cv2" if request.param == "pillow" else "pillow", None)
    return request.param


def pixels(height: int = 37, width: int = 53, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [(x * 4 + y * c) % 256 for c in range(1, channels + 1)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def encode(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def imread(data: bytes, tmp_path) -> np.ndarray:
    path = tmp_path / "picture"
    path.write_bytes(data)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


MODES = {
    "rgb": Image.fromarray(pixels()),
    "gray": Image.fromarray(pixels(channels=1)[..., 0]),
    "rgba": Image.fromarray(pixels(channels=4)),
    "gray_alpha": Image.fromarray(pixels(channels=2), "LA"),
    "palette": Image.fromarray(pixels()).quantize(17),
    "bilevel": Image.fromarray(pixels(channels=1)[..., 0] > 100),
    "gray16": Image.fromarray(pixels(channels=1)[..., 0].astype(np.uint16) * 251 + 17),
}


@pytest.mark.parametrize("mode", list(MODES))
def test_png_of_every_kind_equals_imread(mode, backend, tmp_path):
    data = encode(MODES[mode], "PNG")
    got = images.decode(data)
    assert got.dtype == np.uint8
    assert got.shape == (37, 53, 3)
    np.testing.assert_array_equal(got, imread(data, tmp_path))


def test_palette_with_transparency(backend, tmp_path):
    data = encode(MODES["palette"], "PNG", transparency=3)
    np.testing.assert_array_equal(images.decode(data), imread(data, tmp_path))


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour(channels, backend, tmp_path):
    deep = pixels(channels=channels).astype(np.uint16) * 251 + 17
    data = cv2.imencode(".png", deep)[1].tobytes()
    np.testing.assert_array_equal(images.decode(data), imread(data, tmp_path))


@pytest.mark.parametrize("mode", ["rgb", "gray", "palette", "bilevel"])
def test_bmp(mode, backend, tmp_path):
    data = encode(MODES[mode], "BMP")
    np.testing.assert_array_equal(images.decode(data), imread(data, tmp_path))


@pytest.mark.parametrize("mode", ["rgb", "rgba"])
def test_lossless_webp(mode, backend, tmp_path):
    data = encode(MODES[mode], "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(images.decode(data), imread(data, tmp_path))


@pytest.mark.parametrize("options", [{"quality": 95, "subsampling": 0}, {"quality": 75}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["rgb", "gray"])
def test_jpeg_within_tolerance(mode, options, backend, tmp_path):
    data = encode(MODES[mode], "JPEG", **options)
    difference = np.abs(images.decode(data).astype(int) - imread(data, tmp_path))
    assert difference.max() <= 3
    assert difference.mean() <= 0.1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(9))
def test_exif_orientation_equals_imread(orientation, kind, backend, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(MODES["rgb"], kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    got, expected = images.decode(data), imread(data, tmp_path)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= (3 if kind == "JPEG" else 0)
    assert images.decode(data, apply_orientation=False).shape == (37, 53, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_truncation_anywhere_is_an_error(kind, backend):
    data = encode(MODES["rgb"], kind)
    for end in {0, 1, 2, 3, 10, 20, 40, len(data) // 3, len(data) // 2, len(data) - 40, len(data) - 2, len(data) - 1}:
        with pytest.raises(ImageError) as error:
            images.decode(data[:end])
        assert error.value.code == "image_unreadable", (kind, end)


def test_truncated_jpeg_whose_thumbnail_is_whole(backend):
    thumbnail = encode(MODES["gray"], "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    data = encode(MODES["rgb"], "JPEG", exif=exif)
    images.decode(data)
    with pytest.raises(ImageError, match="truncated"):
        images.decode(data[:-30])


def test_damaged_png_is_an_error(backend):
    data = bytearray(encode(MODES["rgb"], "PNG"))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(ImageError, match="damaged"):
        images.decode(bytes(data))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM"])
def test_foreign_formats_are_refused(kind, backend):
    with pytest.raises(ImageError, match="not a JPEG, PNG, WebP or BMP"):
        images.decode(encode(MODES["rgb"], kind))


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"BM", b"RIFF\0\0\0\0WEBP", b"<svg/>" * 50])
def test_noise_is_refused(data, backend):
    with pytest.raises(ImageError) as error:
        images.decode(data)
    assert error.value.code == "image_unreadable"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels of one compressed byte."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(images, "_decode_pixels", lambda data: pytest.fail("decoded a bomb"))
    with pytest.raises(ImageError) as error:
        images.decode(bomb(60_000, 60_000))
    assert error.value.code == "image_too_large"


def test_limits_are_those_given(backend):
    data = encode(MODES["rgb"], "PNG")
    images.decode(data, max_pixels=37 * 53, max_bytes=len(data))
    for limits in ({"max_pixels": 37 * 53 - 1}, {"max_bytes": len(data) - 1}):
        with pytest.raises(ImageError) as error:
            images.decode(data, **limits)
        assert error.value.code == "image_too_large"


def test_empty_picture_and_short_pixel_data(backend):
    for data in (bomb(0, 10), bomb(100, 100)):
        with pytest.raises(ImageError) as error:
            images.decode(data)
        assert error.value.code == "image_unreadable"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_is_a_picture_or_an_error_of_ours(kind, edits, backend):
    data = bytearray(encode(MODES["rgb"], kind))
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    try:
        got = images.decode(bytes(data), max_pixels=1 << 20)
    except ImageError:
        return
    assert got.dtype == np.uint8
    assert got.shape[2] == 3


def test_cmyk_jpeg_through_both(backend, tmp_path):
    data = encode(MODES["rgb"].convert("CMYK"), "JPEG", quality=95)
    got = images.decode(data)
    assert got.shape == (37, 53, 3)
    assert np.abs(got.astype(int) - imread(data, tmp_path)).max() <= 4


def test_read_takes_a_path(tmp_path):
    path = tmp_path / "a.png"
    MODES["rgb"].save(path)
    np.testing.assert_array_equal(images.read(path), pixels())
    with pytest.raises(FileNotFoundError):
        images.read(tmp_path / "missing.png")


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exif": b"Exif\0\0II*\0"}])
def test_webp_headers(options):
    assert headers.read(encode(MODES["rgb"], "WEBP", **options))[:3] == ("webp", 53, 37)


def test_neither_backend(monkeypatch):
    monkeypatch.setattr(images, "cv2", None)
    monkeypatch.setattr(images, "pillow", None)
    with pytest.raises(ImageError, match="install opencv-python-headless or pillow"):
        images.decode(encode(MODES["rgb"], "PNG"))


@pytest.mark.parametrize(
    ("options", "weight"),
    [({}, 1.0), ({"progressive": True}, 2.0), ({"progressive": True, "subsampling": 0}, 3.0)],
)
def test_weight_of_a_jpeg_is_what_a_decoder_keeps_of_it(options, weight):
    assert headers.read(encode(MODES["rgb"], "JPEG", **options)).weight == pytest.approx(weight)


def test_weight_of_webp():
    frames = [MODES["rgb"], MODES["gray"].convert("RGB")]
    animated = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    kinds = [encode(MODES["rgb"], "WEBP"), encode(MODES["rgb"], "WEBP", lossless=True), animated]
    assert [headers.read(data).weight for data in kinds] == [1.0, headers.WEBP_WEIGHT, headers.ANIMATED_WEIGHT]


def test_what_is_unpacked_more_than_once_counts_as_often():
    heavy = encode(MODES["rgb"], "JPEG", progressive=True)
    with pytest.raises(ImageError, match="unpacked more than once") as caught:
        images.decode(heavy, max_pixels=37 * 53)
    assert caught.value.code == "image_too_large"
    assert images.decode(encode(MODES["rgb"], "JPEG"), max_pixels=37 * 53).shape == (37, 53, 3)


@pytest.mark.parametrize("mode", list(MODES))
def test_large_pictures_decode_in_place_to_the_same_pixels(mode, monkeypatch):
    whole = encode(MODES[mode], "PNG")
    monkeypatch.setattr(images, "LARGE_PIXELS", 1)
    in_place = images.decode(whole)
    monkeypatch.setattr(images, "LARGE_PIXELS", 1 << 60)
    assert np.array_equal(in_place, images.decode(whole))


def test_a_large_picture_that_no_decoder_takes_shows_nothing_of_what_was_in_memory(monkeypatch):
    monkeypatch.setattr(images, "LARGE_PIXELS", 1)
    refused = encode(MODES["rgb"], "JPEG").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x09")
    with pytest.raises(ImageError) as caught:
        images.decode(refused)
    assert caught.value.code == "image_unreadable"


def test_without_files_in_memory_the_plain_way_is_taken(monkeypatch):
    monkeypatch.setattr(images, "LARGE_PIXELS", 1)
    monkeypatch.delattr("os.memfd_create")
    assert images.decode(encode(MODES["rgb"], "PNG")).shape == (37, 53, 3)
