"""Pictures from outside: refused before they are unpacked, and never with more than an error."""

import struct
import zlib
from types import ModuleType

import pytest

from contracts.errors import Permanent
from inference_proxy.images import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1_000_000)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int, height: int) -> bytes:
    """A small PNG that would unpack to `width` x `height` black pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_pictures_are_decoded(kit: ModuleType, kind: str) -> None:
    pixels = decode(kit.picture("blue", (40, 30), kind), LIMITS)
    assert pixels.shape == (30, 40, 3)
    assert pixels[15, 20, 2] > 240 > 20 > pixels[15, 20, 0]


def test_pixels_are_counted_before_unpacking() -> None:
    assert _refusal(bomb(60_000, 60_000)) == "image_too_large"
    assert _refusal(bomb(1001, 1000)) == "image_too_large"


def test_bytes_are_counted() -> None:
    assert _refusal(bytes((1 << 20) + 1)) == "image_too_large"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_truncated_pictures_are_refused(kit: ModuleType, kind: str, part: float) -> None:
    whole = kit.picture("green", (64, 64), kind)
    assert _refusal(whole[: int(len(whole) * part)]) == "image_unreadable"


@pytest.mark.parametrize(
    "data",
    [b"x", b"GIF89a" + bytes(100), b"II*\0" + bytes(100), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff",
     b"\0\0\0\x20ftypheic" + bytes(100), bytes(1000)],
)  # fmt: skip
def test_other_files_are_refused(data: bytes) -> None:
    assert _refusal(data) == "image_unreadable"


def test_damaged_picture_is_refused(kit: ModuleType) -> None:
    whole = bytearray(kit.picture("red", (64, 64), "PNG"))
    whole[len(whole) // 2] ^= 0xFF
    assert _refusal(bytes(whole)) == "image_unreadable"


def _refusal(data: bytes) -> str:
    with pytest.raises(Permanent) as caught:
        decode(data, LIMITS)
    assert caught.value.fields[0].field == "image"
    assert caught.value.status in (400, 413)
    return caught.value.code
