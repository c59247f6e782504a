"""Picture files to RGB pixels: bounded before decoding, whole, upright, the same through cv2 and through Pillow."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from processing import headers
from processing.errors import ImageError
from processing.kernels import Picture, cv2, pillow

MAX_PIXELS = 100_000_000
MAX_BYTES = 64 * 1024 * 1024
LARGE_PIXELS = 100_000
UNTOUCHED = (119, 3, 203)
TURNED_WEIGHT = 1.6
"""For the second copy of a picture that EXIF turns; what phones take, 12 million pixels, stays below a limit of 20 million."""


def decode(
    data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, apply_orientation: bool = True
) -> Picture:
    """A JPEG, PNG, WebP or BMP file to uint8 RGB [H, W, 3], EXIF orientation applied as cv2.imread does.

    Gray is repeated, alpha dropped, palettes looked up, 16-bit samples cut to their high byte. Sizes are checked in the
    header, before a pixel is decoded. Raises ImageError: `image_too_large`, or `image_unreadable` for truncated, damaged and
    foreign files.
    """
    if len(data) > max_bytes:
        raise ImageError("image_too_large", f"the picture has {len(data)} bytes, allowed are {max_bytes}")
    header = headers.read(data)
    weight = max(header.weight, TURNED_WEIGHT if apply_orientation and header.orientation > 1 else 1.0)
    if header.width * header.height * weight > max_pixels:
        size, allowed = f"{header.width} x {header.height}", int(max_pixels / weight)
        kind = "" if weight == 1.0 else " of its kind, which is unpacked more than once"
        raise ImageError("image_too_large", f"the picture has {size} pixels, allowed are {allowed}{kind}")
    pixels = _decode_pixels(data, header)
    if pixels.shape[:2] != (header.height, header.width):
        raise ImageError("image_unreadable", "the picture contradicts its header")
    return _upright(pixels, header.orientation) if apply_orientation else pixels


def from_pillow(picture: Any, *, apply_orientation: bool = True) -> Picture:
    """A `PIL.Image.Image` to uint8 RGB [H, W, 3], as `decode` gives the file that it was opened from."""
    orientation = picture.getexif().get(headers.ORIENTATION, 1) if apply_orientation else 1
    return _upright(_rgb(picture), orientation if orientation in range(1, 9) else 1)


def read(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Picture:
    """`decode` of a file; OSError if it cannot be opened."""
    return decode(Path(path).read_bytes(), max_pixels=max_pixels, max_bytes=max_bytes)


def _decode_pixels(data: bytes, header: headers.Header) -> Picture:
    if cv2 is None and pillow is None:
        raise ImageError("image_unreadable", "install opencv-python-headless or pillow to decode pictures")
    try:
        return _with_cv2(data, header) if cv2 is not None else _with_pillow(data)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        raise ImageError("image_unreadable", f"the picture is damaged: {error}") from error


def _with_cv2(data: bytes, header: headers.Header) -> Picture:
    rgb = getattr(cv2, "IMREAD_COLOR_RGB", 0)  # OpenCV 4.11 and newer
    flags = cv2.IMREAD_IGNORE_ORIENTATION | (rgb or cv2.IMREAD_COLOR)
    pixels = _decode_in_place(data, header, flags) if header.width * header.height >= LARGE_PIXELS else None
    if pixels is None:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ImageError("image_unreadable", "the picture is damaged")
    return pixels if rgb else np.ascontiguousarray(pixels[..., ::-1])


def _decode_in_place(data: bytes, header: headers.Header, flags: int) -> Picture | None:
    """Straight into memory of ours, from a file that exists in memory alone: `imdecode` holds every picture twice.

    None where this system cannot do it, or where it is not certain that anything was decoded: a decoder that refuses a header says
    nothing, so two corners hold a mark that it must have overwritten.
    """
    pixels = np.zeros((header.height, header.width, 3), np.uint8)
    pixels[0, 0] = pixels[-1, -1] = UNTOUCHED
    try:
        file = os.memfd_create("picture")
    except (AttributeError, OSError):
        return None
    try:
        if os.write(file, data) != len(data):
            return None
        done = cv2.imread(f"/proc/self/fd/{file}", pixels, flags)
    except cv2.error:
        return None
    finally:
        os.close(file)
    if done is None or (np.array_equal(pixels[0, 0], UNTOUCHED) and np.array_equal(pixels[-1, -1], UNTOUCHED)):
        return None
    return pixels


def _with_pillow(data: bytes) -> Picture:
    with pillow.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "BMP")) as picture:
        picture.load()
        return _rgb(picture)


def _rgb(picture: Any) -> Picture:
    if picture.mode.startswith("I"):  # 16-bit gray
        high = (np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    return np.array(picture.convert("RGB"))


def _upright(pixels: Picture, orientation: int) -> Picture:
    """Undo an EXIF orientation of 1 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    mirrored = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    rows, columns = mirrored.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels[::rows, ::columns])
