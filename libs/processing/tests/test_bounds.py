"""What a file or a metadata.json of a stranger may cost: never more than its pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from processing import headers, images
from processing.errors import ImageError, MetadataError
from processing.geometry import MAX_RESIZED_PIXELS, Resize, fit
from processing.pipeline import Pipeline

from .samples import metadata


def encode(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


GRAY = Image.fromarray(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8))
PROGRESSIVE = encode(GRAY, "JPEG", progressive=True)
SCAN = PROGRESSIVE[PROGRESSIVE.rfind(b"\xff\xda") : -2]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(extra: bytes) -> bytes:
    plain = encode(GRAY, "PNG")
    return plain[:33] + extra + plain[33:]


def test_a_jpeg_of_many_scans_is_refused_and_a_progressive_one_is_not():
    assert images.decode(PROGRESSIVE).shape == (64, 64, 3)
    bomb = PROGRESSIVE[:-2] + SCAN * 2000 + b"\xff\xd9"
    with pytest.raises(ImageError, match="scans"):
        images.decode(bomb)


def test_scans_behind_a_hidden_end_marker_count():
    """A comment between the scans may hold any bytes: the decoder skips it, so must we."""
    comment = b"\xff\xfe" + struct.pack(">H", 4) + b"\xff\xd9"
    bomb = PROGRESSIVE[:-2] + comment + SCAN * 2000 + b"\xff\xd9"
    with pytest.raises(ImageError, match="scans"):
        images.decode(bomb)


def test_what_follows_the_end_of_a_jpeg_does_not_count():
    """Phones append whole films."""
    assert images.decode(PROGRESSIVE + SCAN * 2000).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_png_of_compressed_texts_is_refused(kind):
    packed = zlib.compress(bytes(1 << 20))
    body = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}[kind] + packed
    assert images.decode(png(chunk(kind, body) * 3)).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="texts"):
        images.decode(png(chunk(kind, body) * 100))


@pytest.mark.parametrize(
    "data",
    [
        PROGRESSIVE[:2] + b"\xff\xfe\0\2" * 30_000 + PROGRESSIVE[2:],
        PROGRESSIVE[:-2] + b"\xff\xfe\0\2" * 30_000 + b"\xff\xd9",
        png(chunk(b"teST", b"") * 30_000),
    ],
    ids=["jpeg", "jpeg between scans", "png"],
)
def test_a_file_of_endless_parts_is_refused(data):
    with pytest.raises(ImageError, match="too many"):
        headers.read(data)


@pytest.mark.parametrize("shape", [(1, 65_535, 3), (65_535, 1, 3)])
def test_a_strip_does_not_become_gigabytes(shape):
    spec = Resize("short_side_crop", (224, 224), "pil_bilinear", resize_to=(256, 256))
    with pytest.raises(ImageError, match="long and thin") as caught:
        fit(np.zeros(shape, np.uint8), spec)
    assert caught.value.code == "image_too_large"


def test_a_panorama_is_fine():
    spec = Resize("short_side_crop", (224, 224), "pil_bilinear", resize_to=(256, 256))
    assert MAX_RESIZED_PIXELS > 256 * 256 * 40
    assert fit(np.zeros((100, 4000, 3), np.uint8), spec)[0].shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"preprocessing__resize__size": [1 << 20, 1 << 20]}, "preprocessing.resize.size"),
        ({"preprocessing__resize__resize_to": [1 << 20, 1]}, "preprocessing.resize.resize_to"),
        ({"postprocessing__nms__max_detections": 1 << 30}, "max_detections"),
        ({"postprocessing__top_k": 1 << 30}, "top_k"),
    ],
)
def test_giant_numbers_in_metadata_are_refused(changes, field):
    with pytest.raises(MetadataError, match=field):
        Pipeline.from_metadata(metadata(**changes))
