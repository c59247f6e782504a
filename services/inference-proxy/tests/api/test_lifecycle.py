"""Keys, limits, routes and usage over time: real processes, NATS, PostgreSQL and Triton."""

import asyncio
import time
from collections import Counter
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from contracts import credentials
from contracts.events.deployment import DeploymentDeactivatedV1, DeploymentUpdatedV1
from contracts.events.usage import InferenceRecordedV1
from contracts.vocabulary import Tier
from servicekit.bus import Bus
from servicekit.replay import follow

pytestmark = pytest.mark.integration


async def test_revoked_and_rotated_keys_and_tiers_act_at_once(kit: ModuleType, client: Any, bus: Bus) -> None:
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

        await kit.eventually(shows)

    await update(1, fresh)
    await has(401, endpoint.key)
    await has(200, fresh)
    await update(2, fresh, tier=Tier.PRO)

    async def has_limits_of_pro() -> bool:
        headers = (await client.send(endpoint, headers={"Authorization": f"Bearer {fresh}"}))[2]
        return '"minute";q=100;' in headers["RateLimit-Policy"]

    await kit.eventually(has_limits_of_pro)
    await update(3, fresh, serving=False)
    await has(409, fresh)


async def test_an_endpoint_whose_model_is_still_loading_says_when_to_come_back(
    kit: ModuleType, client: Any, bus: Bus
) -> None:
    endpoint = kit.endpoint()
    event = endpoint.event
    known = DeploymentUpdatedV1(
        deployment_id=event.deployment_id, generation=1, revision=1, serving=True, access=event.access
    )
    await bus.publish(known, subject_id=event.deployment_id, sequence=1)

    async def is_known() -> bool:
        return await client.status(endpoint) != 401

    await kit.eventually(is_known)
    status, body, headers = await client.send(endpoint)
    assert (status, body["code"], headers["Retry-After"]) == (503, "unavailable", "1")
    assert "being started" in body["detail"]
    stranger = {"Authorization": f"Bearer {credentials.mint('pk')}"}
    assert await client.status(endpoint, headers=stranger) == 401
    await kit.announce(bus, endpoint)
    await client.serves(endpoint)


async def test_deactivated_and_deleted(kit: ModuleType, client: Any, bus: Bus) -> None:
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
    kit: ModuleType, client: Any, bus: Bus
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
    kit: ModuleType, connect: Any, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    proxies = [connect(start_proxy(triton_server.url).url) for _ in range(3)]
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
    """A burst must not meet the end of a minute, on a busy machine either."""
    left = 60 - time.time() % 60
    if left < 25:
        await asyncio.sleep(left)
    return True


async def test_restarted_proxy_knows_its_routes_before_it_is_ready(
    kit: ModuleType, connect: Any, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    endpoints = [kit.endpoint() for _ in range(30)]
    await kit.announce(bus, *endpoints)
    proxies = [start_proxy(triton_server.url) for _ in range(2)]
    for proxy in proxies:
        client = connect(proxy.url)
        assert {await client.status(one) for one in endpoints[::7]} == {200}
        proxy.restart()
        assert {await client.status(one) for one in endpoints[::7]} == {200}


async def test_usage_reaches_the_bus_and_a_stop_forgets_nothing(
    kit: ModuleType, connect: Any, bus: Bus, start_proxy: Any, triton_server: Any
) -> None:
    endpoint = kit.endpoint(Tier.PRO)
    await kit.announce(bus, endpoint)
    proxy = start_proxy(triton_server.url, flush_s=30)
    client = connect(proxy.url)
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
