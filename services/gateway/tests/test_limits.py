"""Requests a minute and streams at a time, by user; and streams that end with their token."""

import asyncio
from contextlib import suppress
from uuid import UUID, uuid4

import pytest

from contracts.errors import ModelportError
from contracts.tiers import TIERS
from contracts.vocabulary import Tier
from gateway.limits import Limits
from gateway.testing.outside import Client, Gateway

ALLOWED = TIERS[Tier.FREE].gateway_requests_per_minute
STREAMS = TIERS[Tier.FREE].event_streams


def test_exactly_the_limit_passes_in_each_minute() -> None:
    now = [6_000_000.0]
    limits, user = Limits(lambda: now[0]), uuid4()
    for minute in range(2):
        passed = [limits.admit(user, Tier.FREE) for _ in range(ALLOWED)]
        assert [one.remaining for one in passed] == list(reversed(range(ALLOWED)))
        with pytest.raises(ModelportError) as refused:
            limits.admit(user, Tier.FREE)
        assert (refused.value.code, refused.value.status) == ("rate_limited", 429)
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 61
        assert limits.admit(uuid4(), Tier.FREE).remaining == ALLOWED - 1, "others do not notice"
        now[0] += 60 - minute
    assert TIERS[Tier.FREE].gateway_requests_per_minute < TIERS[Tier.ENTERPRISE].gateway_requests_per_minute


def test_a_place_for_a_stream_is_given_back() -> None:
    limits, user = Limits(), uuid4()
    held = [limits.stream(user, Tier.FREE) for _ in range(STREAMS)]
    for one in held:
        one.__enter__()
    with pytest.raises(ModelportError, match="streams are open"), limits.stream(user, Tier.FREE):
        pass
    with limits.stream(uuid4(), Tier.FREE):
        held.pop().__exit__(None, None, None)
        with limits.stream(user, Tier.FREE):
            pass


@pytest.mark.integration
async def test_answers_tell_where_the_user_stands(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    answer = await client.send("GET", "/api/v1/users/me")
    assert answer.headers["ratelimit-policy"] == f'"minute";q={ALLOWED};w=60'
    assert answer.headers["ratelimit"].startswith(f'"minute";r={ALLOWED - 1};')
    assert "ratelimit" not in (await Client(gateway.http, "").send("GET", "/healthz")).headers


@pytest.mark.integration
async def test_who_asks_too_often_is_told_when_to_come_back(gateway: Gateway) -> None:
    client, other = await gateway.tenant("free"), await gateway.tenant("free")
    user = UUID((await client.get("/api/v1/users/me"))["id"])
    answer = await client.send("GET", "/api/v1/users/me")
    while answer.status_code == 200:  # a minute may end on the way
        with suppress(ModelportError):
            while gateway.parts.limits.admit(user, Tier.FREE).remaining:
                pass
        answer = await client.send("GET", "/api/v1/users/me")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await other.send("GET", "/api/v1/users/me")).status_code == 200


@pytest.mark.integration
async def test_streams_are_counted_and_end_with_their_token(gateway: Gateway) -> None:
    client = await gateway.tenant("free")
    job = await gateway.export(client, (await gateway.training(client))["id"])
    path = f"/api/v1/export/jobs/{job['id']}/events"
    ended = []

    async def follow() -> None:
        async with gateway.http.stream("GET", path, headers={"Authorization": f"Bearer {client.token}"}) as answer:
            opened.append(answer.status_code)
            async for _ in answer.aiter_raw():
                pass
        ended.append(True)

    opened: list[int] = []
    following = [asyncio.create_task(follow()) for _ in range(STREAMS)]
    async with asyncio.timeout(60):
        while len(opened) < STREAMS:
            await asyncio.sleep(0.02)
        assert set(opened) == {200}
        assert await client.refusal("GET", path) == (429, "too_many_streams")
        me = (await client.get("/api/v1/users/me"))["id"]
        tokens = await gateway.admin.get(f"/api/v1/users/{me}/tokens")
        await gateway.admin.send("DELETE", f"/api/v1/users/{me}/tokens/{tokens['items'][0]['id']}")
        await asyncio.gather(*following)
    assert len(ended) == STREAMS
