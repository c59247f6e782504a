"""The whole proxy over HTTP: real processes, NATS, PostgreSQL and Triton."""

import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from types import ModuleType
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from contracts import credentials
from contracts.vocabulary import Tier
from servicekit.bus import Bus

pytestmark = pytest.mark.integration


async def test_every_form_of_a_picture_gets_the_same_answer(kit: ModuleType, client: Any, bus: Bus) -> None:
    endpoint = kit.endpoint(model="detector")
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    image = kit.picture("red", (64, 48))
    encoded = base64.b64encode(image).decode()
    form = aiohttp.FormData({"confidence_threshold": "0.5"})
    form.add_field("image", image, filename="red.png", content_type="image/png")
    png = {"Content-Type": "image/png"}
    answers = [
        await client.send(endpoint, json={"image": encoded, "confidence_threshold": 0.5, "iou_threshold": 0.45}),
        await client.send(endpoint, json={"image": f"data:image/png;base64,{encoded}", "confidence_threshold": 0.5}),
        await client.send(endpoint, data=image, headers=png, params={"confidence_threshold": "0.5"}),
        await client.send(endpoint, data=form),
    ]
    assert [status for status, _, _ in answers] == [200] * 4
    bodies = [body for _, body, _ in answers]
    assert all(body.pop("latency_ms") > 0 for body in bodies)
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["model_version"] == "v1"
    assert bodies[0]["image"] == {"width": 64, "height": 48}
    assert [one["class"] for one in bodies[0]["predictions"]] == ["red", "red"]
    assert set(bodies[0]["predictions"][0]) == {"class", "class_id", "confidence", "bbox"}


async def test_answer_carries_limits_and_trace(kit: ModuleType, client: Any, bus: Bus) -> None:
    endpoint = kit.endpoint(Tier.PRO)
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    _, _, headers = await client.send(endpoint, headers={"traceparent": "00-" + "c" * 32 + "-" + "d" * 16 + "-01"})
    assert '"minute";q=100;w=60' in headers["RateLimit-Policy"]
    assert '"month";q=100000;w=' in headers["RateLimit-Policy"]
    assert '"minute";r=' in headers["RateLimit"]
    assert len(headers["X-Trace-Id"]) == 32
    assert headers["X-Trace-Id"] != "c" * 32, "a caller does not choose the trace"


async def test_bad_input_is_told_by_its_field_and_the_proxy_lives(kit: ModuleType, client: Any, bus: Bus) -> None:
    endpoint = kit.endpoint(model="detector")
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    good = base64.b64encode(kit.picture()).decode()
    png = {"Content-Type": "image/png"}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"json": {"image": good, "colour": "red"}}, 400, "colour"),
        ({"json": {"image": "***"}}, 400, "image"),
        ({"json": {"image": good, "iou_threshold": 2}}, 400, "iou_threshold"),
        (
            {"data": b'{"image": "AAAA", "iou_threshold": NaN}', "headers": {"Content-Type": "application/json"}},
            400,
            "body",
        ),
        ({"json": {"image": base64.b64encode(b"not a picture").decode()}}, 400, "image"),
        ({"data": kit.picture()[:-20], "headers": png}, 400, "image"),
        ({"data": kit.picture(size=(400, 300)), "headers": png}, 413, "image"),
        (
            {"data": kit.picture(), "headers": png, "params": {"confidence_threshold": "nan"}},
            400,
            "confidence_threshold",
        ),
    ]
    for request, status, field in cases:
        got, body, headers = await client.send(endpoint, **request)
        assert (got, headers["Content-Type"]) == (status, "application/problem+json"), body
        assert [error["field"] for error in body["errors"]] == [field]
        assert body["detail"]
        assert body["trace_id"]
    for request, status in [
        ({"data": bytes(300_000), "headers": png}, 413),
        ({"data": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"data": b"x", "headers": png | {"Content-Encoding": "gzip"}}, 415),
    ]:
        assert await client.status(endpoint, **request) == status
    assert await client.status(endpoint) == 200


async def test_endless_body_is_cut_off(kit: ModuleType, client: Any, bus: Bus) -> None:
    endpoint = kit.endpoint()
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 500_000_000:
            sent += 50_000
            yield bytes(50_000)

    with suppress(aiohttp.ClientError, ConnectionError):  # the connection may be closed before the answer is read
        assert await client.status(endpoint, data=endless(), headers={"Content-Type": "image/png"}) == 413
    assert sent < 50_000_000
    assert await client.status(endpoint) == 200


async def test_strangers_cannot_tell_deployments_apart(kit: ModuleType, client: Any, bus: Bus) -> None:
    mine, other = kit.endpoint(), kit.endpoint()
    await kit.announce(bus, mine, other)
    await client.serves(mine)
    keys = ["", "Bearer pk_x", f"Bearer {mine.key}", f"Bearer {credentials.mint('pk')}"]
    for key in keys:
        answers = []
        for path in (other.path, f"/v1/infer/{uuid4()}", "/v1/infer/nonsense", "/v1/infer/", f"{other.path}/load"):
            status, body, headers = await client.send(mine, path=path, headers={"Authorization": key})
            body.pop("instance")
            answers.append((status, body, headers["WWW-Authenticate"], headers["Connection"]))
        assert answers[0][0] == 401
        assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/repository/index", 404),
        ("POST", "/v2/models/d-classifier/infer", 404),
        ("POST", "/v2/repository/models/d-classifier/unload", 404),
        ("GET", "/metrics", 404),
        ("GET", "/v1/infer/../../v2/health/ready", 404),
        ("GET", "/v1/infer/x", 405),
        ("GET", "/healthz", 200),
    ],
)
async def test_nothing_of_triton_is_reachable(
    client: Any, session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with session.request(method, client.url + path) as answer:
        assert answer.status == status
