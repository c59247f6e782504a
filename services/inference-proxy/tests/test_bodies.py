"""The three forms of a body, and everything that is wrong with them."""

import base64
from typing import Any

import pytest

from contracts.errors import Permanent
from inference_proxy.bodies import OVERHEAD_BYTES, InferRequest, Thresholds, reader_of
from inference_proxy.images import ImageLimits

LIMITS = ImageLimits(max_bytes=1000, max_pixels=100)
TEXT = base64.b64encode(b"picture").decode()
BOUNDARY = "multipart/form-data; boundary=xyz"


def read(body: bytes, content_type: str = "application/json", query: str = "") -> InferRequest:
    return reader_of(content_type).read(body, content_type, query, LIMITS)


def form(*parts: tuple[str, bytes]) -> bytes:
    head = b'--xyz\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    return b"".join(head % (name.encode(), value) for name, value in parts) + b"--xyz--\r\n"


def both(confidence: float, iou: float) -> Thresholds:
    return Thresholds(confidence_threshold=confidence, iou_threshold=iou)


@pytest.mark.parametrize(
    ("body", "thresholds"),
    [
        (f'{{"image": "{TEXT}"}}', Thresholds()),
        (f'{{"image": "{TEXT}", "confidence_threshold": 0.5, "iou_threshold": 0}}', both(0.5, 0.0)),
        (f'{{"image": "{TEXT}", "confidence_threshold": null}}', Thresholds()),
        (f'{{"image": "data:image/png;base64,{TEXT}"}}', Thresholds()),
        (f'{{"image": "{TEXT[:4]}\\n{TEXT[4:]}"}}', Thresholds()),
    ],
)
def test_json(body: str, thresholds: Thresholds) -> None:
    assert read(body.encode()) == InferRequest(image=b"picture", thresholds=thresholds)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/webp", "image/bmp", "IMAGE/JPEG; q=1"])
def test_picture_with_thresholds_in_the_query(kind: str) -> None:
    query = "confidence_threshold=0.5&iou_threshold=1"
    assert read(b"picture", kind, query) == InferRequest(image=b"picture", thresholds=both(0.5, 1.0))


def test_multipart() -> None:
    body = form(("image", b"picture"), ("confidence_threshold", b"0.25"))
    expected = InferRequest(image=b"picture", thresholds=Thresholds(confidence_threshold=0.25))
    assert read(body, BOUNDARY) == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b'{"image": "\xff"}', "body"),
        (b"[]", "body"),
        (b"{}", "image"),
        (b'{"image": 5}', "image"),
        (b'{"image": null}', "image"),
        (b'{"image": ""}', "image"),
        (b'{"image": "a"}', "image"),
        (b'{"image": "%%%%"}', "image"),
        (b'{"image": "AAA="}x', "body"),
        ('{"image": "é"}'.encode(), "image"),
        (b'{"image": "data:image/png,abc"}', "image"),
        (b'{"image": "data:image/png;base64"}', "image"),
        (b'{"image": "AAAA", "images": []}', "images"),
        (b'{"image": "AAAA", "confidence": 0.5}', "confidence"),
        (b'{"image": "AAAA", "confidence_threshold": "0.5"}', "confidence_threshold"),
        (b'{"image": "AAAA", "confidence_threshold": NaN}', "body"),
        (b'{"image": "AAAA", "confidence_threshold": 1e999}', "confidence_threshold"),
        (b'{"image": "AAAA", "confidence_threshold": 1.01}', "confidence_threshold"),
        (b'{"image": "AAAA", "iou_threshold": -0.1}', "iou_threshold"),
        (b'{"image": "AAAA", "iou_threshold": true}', "iou_threshold"),
        (b'{"image": "AAAA", "parameters": {"shared_memory_region": "x"}}', "parameters"),
        (b"[" * 100_000, "body"),
    ],
)
def test_wrong_json_names_its_field(body: bytes, field: str) -> None:
    assert _refused(body, "application/json", "") == ("invalid_request", field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("confidence_threshold=nan", "confidence_threshold"),
        ("confidence_threshold=inf", "confidence_threshold"),
        ("iou_threshold=", "iou_threshold"),
        ("iou_threshold=0.5&iou_threshold=0.6", "iou_threshold"),
        ("threshold=0.5", "threshold"),
    ],
)
def test_wrong_query_names_its_field(query: str, field: str) -> None:
    assert _refused(b"picture", "image/png", query) == ("invalid_request", field)


@pytest.mark.parametrize(
    ("body", "content_type", "field"),
    [
        (form(("image", b"")), BOUNDARY, "image"),
        (form(("confidence_threshold", b"1")), BOUNDARY, "image"),
        (form(("image", b"a"), ("image", b"b")), BOUNDARY, "image"),
        (form(("image", b"a"), ("iou_threshold", b"x")), BOUNDARY, "iou_threshold"),
        (form(("image", b"a"), ("iou_threshold", b"1" * 65)), BOUNDARY, "iou_threshold"),
        (form(("image", b"a"), ("model", b"x")), BOUNDARY, "model"),
        (form(("image", b"a"))[:-6], BOUNDARY, "body"),
        (form(("image", b"a" * 1001)), BOUNDARY, "body"),
        (form(*[("image", b"a")] * 9), BOUNDARY, "body"),
        (form(("image", b"a")), "multipart/form-data", "body"),
        (b"", BOUNDARY, "body"),
    ],
)
def test_wrong_form_names_its_field(body: bytes, content_type: str, field: str) -> None:
    assert _refused(body, content_type, "") == ("invalid_request", field)


@pytest.mark.parametrize("content_type", ["application/json", BOUNDARY])
def test_options_in_the_query_of_a_body_that_carries_them_are_refused(content_type: str) -> None:
    body = form(("image", b"a")) if content_type == BOUNDARY else b'{"image": "AAAA"}'
    assert _refused(body, content_type, "iou_threshold=0.5") == ("invalid_request", "iou_threshold")


@pytest.mark.parametrize("content_type", ["", "text/plain", "image/gif", "application/octet-stream", "image/svg+xml"])
def test_other_media_types_are_refused(content_type: str) -> None:
    with pytest.raises(Permanent) as caught:
        reader_of(content_type)
    assert caught.value.status == 415


def test_base64_of_a_picture_with_too_many_bytes_is_refused_undecoded() -> None:
    body = b'{"image": "%b"}' % (b"A" * (2 * (1000 + OVERHEAD_BYTES)))
    assert _refused(body, "application/json", "") == ("image_too_large", "image")


def _refused(body: bytes, content_type: str, query: str) -> tuple[str, Any]:
    with pytest.raises(Permanent) as caught:
        read(body, content_type, query)
    return caught.value.code, caught.value.fields[0].field
