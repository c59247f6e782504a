"""The three forms of a request body, one result: JSON with base64, a bare picture file, multipart/form-data.

Whatever is not understood is refused by the name of its field; nothing is accepted in silence.
"""

import binascii
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct
from multipart import (  # type: ignore[import-untyped]  # ships without types
    MultipartError,
    PushMultipartParser,
    parse_options_header,
)

from contracts.errors import FieldError, Permanent
from contracts.mistakes import explain
from inference_proxy.images import ImageLimits, refused

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]

JSON = "application/json"
MULTIPART = "multipart/form-data"
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/bmp")
OVERHEAD_BYTES = 64 << 10
"""What a body may have beside its picture: field names, boundaries, a data: prefix."""
_WHITESPACE = b" \t\r\n"


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None means the model's own default."""

    confidence_threshold: Fraction | None = None
    iou_threshold: Fraction | None = None


class InferRequest(Struct, frozen=True, kw_only=True):
    """A picture file and how to filter what is found in it."""

    image: bytes
    thresholds: Thresholds = Thresholds()


class _JsonBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    image: str
    confidence_threshold: Fraction | None = None
    iou_threshold: Fraction | None = None


_json = msgspec.json.Decoder(_JsonBody)


class Reader(Struct, frozen=True):
    """How one media type is read; `limit` bounds the body in bytes."""

    limit: Callable[[ImageLimits], int]
    read: Callable[[bytes, str, str, ImageLimits], InferRequest]


def reader_of(content_type: str) -> Reader:
    """Permanent("unsupported_media_type") for anything that is not listed."""
    kind = content_type.partition(";")[0].strip().lower()
    reader = READERS.get(kind)
    if reader is None:
        raise Permanent("unsupported_media_type", f"{kind or 'A request without Content-Type'} is not understood.")
    return reader


def _read_json(body: bytes, _content_type: str, query: str, limits: ImageLimits) -> InferRequest:
    _refuse_query(query)
    try:
        given = _json.decode(body)
    except msgspec.ValidationError as error:
        wrong = explain(error, _json.type)
        raise _invalid(wrong.field or "body", wrong.message) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid("body", "is not valid JSON") from error
    return InferRequest(
        image=_from_base64(given.image, limits),
        thresholds=Thresholds(confidence_threshold=given.confidence_threshold, iou_threshold=given.iou_threshold),
    )


def _from_base64(text: str, limits: ImageLimits) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise _invalid("image", "a data: URL must be `data:<type>;base64,<data>`")
    if len(text) * 3 // 4 > limits.max_bytes + OVERHEAD_BYTES:
        raise refused("image_too_large", f"the picture has more than {limits.max_bytes} bytes")
    try:
        encoded = text.encode("ascii")
        if any(blank in encoded for blank in _WHITESPACE):
            encoded = encoded.translate(None, _WHITESPACE)
        image = binascii.a2b_base64(encoded, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _invalid("image", "is not base64") from error
    return _not_empty(image)


def _read_picture(body: bytes, _content_type: str, query: str, _limits: ImageLimits) -> InferRequest:
    pairs = parse_qsl(query, keep_blank_values=True)
    return InferRequest(image=_not_empty(body), thresholds=_thresholds(pairs))


def _read_multipart(body: bytes, content_type: str, query: str, limits: ImageLimits) -> InferRequest:
    _refuse_query(query)
    pairs: list[tuple[str, str]] = []
    images: list[bytes] = []
    for name, value in _parts(body, content_type, limits):
        if name == "image":
            images.append(value)
        elif len(value) > 64:
            raise _invalid(name[:64], "is too long")
        else:
            pairs.append((name, value.decode("utf-8", "replace")))
    if len(images) != 1:
        raise _invalid("image", "is missing" if not images else "is given more than once")
    return InferRequest(image=_not_empty(images[0]), thresholds=_thresholds(pairs))


def _parts(body: bytes, content_type: str, limits: ImageLimits) -> list[tuple[str, bytes]]:
    """Name and content of every part."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    found: list[tuple[str, bytes]] = []
    content, name = bytearray(), ""
    try:
        with PushMultipartParser(
            boundary, content_length=len(body), max_segment_size=limits.max_bytes, max_segment_count=8, strict=True
        ) as parser:
            for event in parser.parse(body):
                if event is None:
                    found.append((name, bytes(content)))
                elif isinstance(event, (bytes, bytearray)):
                    content += event
                else:
                    content, name = bytearray(), event.name or ""
    except (MultipartError, ValueError) as error:
        raise _invalid("body", "is not valid multipart/form-data") from error
    return found


def _thresholds(pairs: list[tuple[str, str]]) -> Thresholds:
    """Numbers given as text, in a query or in form fields."""
    given: dict[str, float] = {}
    for name, text in pairs:
        if name not in Thresholds.__struct_fields__:
            raise _invalid(name[:64] or "body", "is not an option here")
        if name in given:
            raise _invalid(name, "is given more than once")
        try:
            given[name] = float(text)
        except ValueError as error:
            raise _invalid(name, "must be a number from 0 to 1") from error
        if not 0.0 <= given[name] <= 1.0:
            raise _invalid(name, "must be a number from 0 to 1")
    return Thresholds(**given)


def _refuse_query(query: str) -> None:
    for name, _ in parse_qsl(query, keep_blank_values=True):
        raise _invalid(name[:64], "belongs in the body, not in the query")


def _not_empty(image: bytes) -> bytes:
    if not image:
        raise _invalid("image", "is empty")
    return image


def _invalid(field: str, message: str) -> Permanent:
    return Permanent("invalid_request", f"{field}: {message}", fields=(FieldError(field, message),))


READERS: Mapping[str, Reader] = {
    JSON: Reader(lambda limits: limits.max_bytes * 4 // 3 + OVERHEAD_BYTES, _read_json),
    MULTIPART: Reader(lambda limits: limits.max_bytes + OVERHEAD_BYTES, _read_multipart),
    **{kind: Reader(lambda limits: limits.max_bytes, _read_picture) for kind in PICTURES},
}
