"""The whole proxy over HTTP: real processes, NATS, PostgreSQL and Triton."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from types import ModuleType
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from msgspec.structs import replace

from contracts import credentials
from contracts.events.deployment import DeploymentDeactivatedV1, DeploymentUpdatedV1
from contracts.events.usage import InferenceRecordedV1
from contracts.vocabulary import Tier
from servicekit.bus import Bus
from servicekit.replay import follow

pytestmark = pytest.mark.integration


class Client:
    """Sends pictures to one proxy."""

    def __init__(self, kit: ModuleType, session: aiohttp.ClientSession, url: str) -> None:
        self.kit = kit
        self.session = session
        self.url = url

    async def send(self, endpoint: Any, **request: Any) -> tuple[int, Any, Any]:
        """Status, decoded body and headers; a red picture as JSON where nothing else is given."""
        if not {"data", "json"} & set(request):
            request["json"] = {"image": base64.b64encode(self.kit.picture()).decode()}
        headers = endpoint.headers | request.pop("headers", {})
        path = request.pop("path", endpoint.path)
        async with self.session.post(self.url + path, headers=headers, **request) as answer:
            return answer.status, json.loads(await answer.read()), answer.headers

    async def status(self, endpoint: Any, **request: Any) -> int:
        return (await self.send(endpoint, **request))[0]

    async def serves(self, endpoint: Any) -> None:
        """Waits until the route is known."""

        async def answers() -> bool:
            return await self.status(endpoint) == 200

        await self.kit.eventually(answers)


@pytest.fixture
async def client(
    kit: ModuleType, session: aiohttp.ClientSession, bus: Bus, start_proxy: Any, triton_server: Any
) -> Client:
    return Client(kit, session, start_proxy(triton_server.url, image_max_bytes=200_000, image_max_pixels=100_000).url)


async def test_every_form_of_a_picture_gets_the_same_answer(kit: ModuleType, client: Client, bus: Bus) -> None:
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


async def test_answer_carries_limits_and_trace(kit: ModuleType, client: Client, bus: Bus) -> None:
    endpoint = kit.endpoint(Tier.PRO)
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    _, _, headers = await client.send(endpoint, headers={"traceparent": "00-" + "c" * 32 + "-" + "d" * 16 + "-01"})
    assert '"minute";q=100;w=60' in headers["RateLimit-Policy"]
    assert '"month";q=100000;w=' in headers["RateLimit-Policy"]
    assert '"minute";r=' in headers["RateLimit"]
    assert headers["X-Trace-Id"] == "c" * 32


async def test_bad_input_is_told_by_its_field_and_the_proxy_lives(kit: ModuleType, client: Client, bus: Bus) -> None:
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


async def test_endless_body_is_cut_off(kit: ModuleType, client: Client, bus: Bus) -> None:
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


async def test_strangers_cannot_tell_deployments_apart(kit: ModuleType, client: Client, bus: Bus) -> None:
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
    client: Client, session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with session.request(method, client.url + path) as answer:
        assert answer.status == status


async def test_revoked_and_rotated_keys_and_tiers_act_at_once(kit: ModuleType, client: Client, bus: Bus) -> None:
    endpoint = kit.endpoint(Tier.FREE)
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    event = endpoint.event
    fresh = credentials.mint("pk")

    async def update(revision: int, key: str, *, serving: bool = True, tier: Tier = Tier.FREE) -> None:
        access = replace(event.access, key_digests=(credentials.digest(key, kit.PEPPER),), tier=tier)
        fact = DeploymentUpdatedV1(
            deployment_id=event.deployment_id, generation=1, revision=revision, serving=serving, access=access
        )
        await bus.publish(fact, subject_id=event.deployment_id, sequence=revision)

    async def has(status: int, key: str) -> None:
        async def shows() -> bool:
            return await client.status(endpoint, headers={"Authorization": f"Bearer {key}"}) == status

        async with asyncio.timeout(1):
            await kit.eventually(shows)

    await update(1, fresh)
    await has(401, endpoint.key)
    await has(200, fresh)
    await update(2, fresh, tier=Tier.PRO)
    await asyncio.sleep(0.2)
    headers = (await client.send(endpoint, headers={"Authorization": f"Bearer {fresh}"}))[2]
    assert '"minute";q=100;' in headers["RateLimit-Policy"]
    await update(3, fresh, serving=False)
    await has(409, fresh)


async def test_deactivated_and_deleted(kit: ModuleType, client: Client, bus: Bus) -> None:
    endpoint = kit.endpoint()
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)
    for generation, deleted, status in ((2, False, 409), (3, True, 401)):
        fact = DeploymentDeactivatedV1(
            deployment_id=endpoint.event.deployment_id, generation=generation, deleted=deleted
        )
        await bus.publish(fact, subject_id=fact.deployment_id, sequence=generation)

        async def shows(status: int = status) -> bool:
            return await client.status(endpoint) == status

        await kit.eventually(shows)


async def test_model_that_triton_has_lost_is_unavailable_and_costs_nothing(
    kit: ModuleType, client: Client, bus: Bus
) -> None:
    endpoint = kit.endpoint(Tier.PRO)
    endpoint.event = replace(endpoint.event, triton_model="d-lost")
    served = kit.endpoint(Tier.PRO, endpoint.event.access.user_id)
    await kit.announce(bus, endpoint, served)
    await client.serves(served)
    for _ in range(5):
        status, body, headers = await client.send(endpoint)
        assert (status, body["code"], headers["Retry-After"]) == (503, "unavailable", "2")
        assert "d-lost" not in str(body)
    _, _, headers = await client.send(served)
    month = headers["RateLimit"].split('"month";r=')[1].split(";")[0]
    assert int(month) == 100_000 - 2


async def test_minute_is_exact_over_three_proxies_and_says_when_to_come_back(
    kit: ModuleType, session: aiohttp.ClientSession, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    proxies = [Client(kit, session, start_proxy(triton_server.url).url) for _ in range(3)]
    warm = kit.endpoint()
    endpoint = kit.endpoint(Tier.FREE)
    await kit.announce(bus, warm, endpoint)
    for proxy in proxies:
        await proxy.serves(warm)
    await kit.eventually(_early_in_a_minute)
    answers = await asyncio.gather(*(proxies[n % 3].send(endpoint) for n in range(45)))
    assert Counter(status for status, _, _ in answers) == {200: 10, 429: 35}
    for status, body, headers in answers:
        if status == 429:
            assert body["code"] == "rate_limited"
            assert 0 < int(headers["Retry-After"]) <= 60
            assert headers["RateLimit"].startswith('"minute";r=0;t=')


async def _early_in_a_minute() -> bool:
    """A burst must not meet the end of a minute: ten seconds before it, wait."""
    left = 60 - time.time() % 60
    if left < 8:
        await asyncio.sleep(left)
    return True


async def test_restarted_proxy_knows_its_routes_before_it_is_ready(
    kit: ModuleType, session: aiohttp.ClientSession, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    endpoints = [kit.endpoint() for _ in range(30)]
    await kit.announce(bus, *endpoints)
    proxies = [start_proxy(triton_server.url) for _ in range(2)]
    for proxy in proxies:
        client = Client(kit, session, proxy.url)
        assert {await client.status(one) for one in endpoints[::7]} == {200}
        proxy.restart()
        assert {await client.status(one) for one in endpoints[::7]} == {200}


async def test_usage_reaches_the_bus_and_a_stop_forgets_nothing(
    kit: ModuleType, session: aiohttp.ClientSession, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    endpoint = kit.endpoint(Tier.PRO)
    await kit.announce(bus, endpoint)
    proxy = start_proxy(triton_server.url, flush_s=30)
    client = Client(kit, session, proxy.url)
    seen: list[InferenceRecordedV1] = []

    async def on_usage(event: InferenceRecordedV1, _meta: Any) -> None:
        seen.append(event)

    for _ in range(4):
        assert await client.status(endpoint) == 200
    assert await client.status(endpoint, json={}) == 400
    await asyncio.to_thread(proxy.stop)
    follower = follow(bus, [InferenceRecordedV1], on_usage, since="start")

    async def arrived() -> bool:
        return bool(seen)

    await kit.eventually(arrived)
    await follower.stop()
    assert (sum(one.requests for one in seen), sum(one.errors for one in seen)) == (4, 1)
    assert seen[0].inference_time_ms > 0
