"""Pictures from outside: bounded in bytes and pixels before anything is decoded, errors in the words of the API."""

from msgspec import Struct

from contracts.errors import FieldError, Permanent
from processing import images
from processing.errors import ImageError
from processing.kernels import Picture


class ImageLimits(Struct, frozen=True, kw_only=True):
    """What a picture may weigh."""

    max_bytes: int
    max_pixels: int


def decode(data: bytes, limits: ImageLimits, *, apply_orientation: bool = True) -> Picture:
    """uint8 RGB [H, W, 3]; Permanent "image_unreadable" (400) or "image_too_large" (413), both naming `image`."""
    try:
        return images.decode(
            data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, apply_orientation=apply_orientation
        )
    except ImageError as error:
        raise refused(error.code, str(error)) from error


def refused(code: str, message: str) -> Permanent:
    """The error of a picture that is not taken."""
    return Permanent(code, f"image: {message}", fields=(FieldError("image", message),))
