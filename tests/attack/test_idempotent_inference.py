"""Idempotency-Key on inference, attacked: proxies die over it, strangers and other endpoints use it, bodies change under it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts.vocabulary import Tier
from tests.attack.fleet import OTHER_PICTURE, Fleet, Tenant, eventually, http, insist, knows, send

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(900)]

REPLAYED = "Idempotency-Replayed"


@asynccontextmanager
async def hanging(fleet: Fleet) -> AsyncIterator[None]:
    """The model does not answer while the block runs."""
    os.kill(fleet.upstream.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(fleet.upstream.pid, signal.SIGCONT)


async def is_claimed(fleet: Fleet, tenant: Tenant) -> bool:
    return bool(await fleet.ask("SELECT FROM answers WHERE user_id = $1 AND NOT is_answered", tenant.user_id))


async def test_every_proxy_gives_the_first_answer_again(fleet: Fleet) -> None:
    tenant = await fleet.tenant(Tier.PRO)
    async with http() as session:
        await knows(session, fleet, tenant)
        answers = [await insist(session, proxy, tenant, key="k") for proxy in fleet.proxies * 2]
    assert {(code, body) for code, body, _ in answers} == {("ok", answers[0][1])}
    assert [told.get(REPLAYED) for _, _, told in answers] == [None, *["true"] * 5]
    assert await fleet.billed(tenant.user_id) == 1


async def test_request_of_a_proxy_that_was_killed_is_billed_once(
    fleet: Fleet, figure: Callable[..., None], trials: Callable[[int, int], int]
) -> None:
    tenant, rounds = await fleet.tenant(Tier.PRO), trials(1, 4)
    async with http() as session:
        await knows(session, fleet, tenant)
        for number in range(rounds):
            dying, other = fleet.proxies[number % 3], fleet.proxies[(number + 1) % 3]
            async with hanging(fleet):
                lost = asyncio.create_task(send(session, dying, tenant, key=f"k{number}"))
                await eventually(lambda: is_claimed(fleet, tenant))
                running = await insist(session, other, tenant, key=f"k{number}")
                await asyncio.to_thread(dying.server.kill)
            assert (running[0], (await lost)[0]) == ("idempotency_in_flight", "unknown")
            assert 0 < int(running[2]["Retry-After"]) <= 10

            async def answered(proxy: Any = other, key: str = f"k{number}") -> bool:
                code = (await send(session, proxy, tenant, key=key))[0]
                assert code in ("ok", "idempotency_in_flight", "unavailable")
                return code == "ok"

            await eventually(answered)
            await asyncio.to_thread(dying.server.start)
    billed = await fleet.billed(tenant.user_id)
    figure("requests billed not once whose proxy was killed over them", trials=rounds, measured=abs(billed - rounds), promised=0)  # fmt: skip
    assert billed == rounds


async def test_answer_crosses_neither_tenants_nor_endpoints(fleet: Fleet, figure: Callable[..., None]) -> None:
    mine = await fleet.tenant(Tier.PRO)
    theirs, second = await fleet.tenant(Tier.PRO), await fleet.tenant(Tier.PRO, mine.user_id)
    async with http() as session:
        await knows(session, fleet, mine, theirs, second)
        told = [(await insist(session, fleet.proxies[0], one, key="the same"))[2] for one in (mine, theirs, second)]
    crossed = sum(REPLAYED in one for one in told)
    figure("answers that crossed tenants or endpoints under one key", trials=2, measured=crossed, promised=0)
    assert crossed == 0
    assert await fleet.billed(mine.user_id) == 2


async def test_another_body_is_refused_and_costs_nothing(fleet: Fleet) -> None:
    tenant = await fleet.tenant(Tier.PRO)
    async with http() as session:
        await knows(session, fleet, tenant)
        await insist(session, fleet.proxies[0], tenant, key="k")
        codes = [(await insist(session, one, tenant, key="k", picture=OTHER_PICTURE))[0] for one in fleet.proxies]
    assert codes == ["idempotency_mismatch"] * 3
    assert await fleet.billed(tenant.user_id) == 1


async def test_what_was_not_answered_is_not_billed_and_its_key_is_free(fleet: Fleet) -> None:
    tenant = await fleet.tenant(Tier.PRO)
    async with http() as session:
        await knows(session, fleet, tenant)
        codes = [
            (await insist(session, one, tenant, key="k", picture=picture))[0]
            for one, picture in zip(fleet.proxies, (b"none", b"none", OTHER_PICTURE), strict=True)
        ]
    assert codes == ["image_unreadable", "image_unreadable", "ok"]
    assert await fleet.billed(tenant.user_id) == 1


async def test_one_key_from_everywhere_at_once_is_one_request(
    fleet: Fleet, figure: Callable[..., None], trials: Callable[[int, int], int]
) -> None:
    tenant, rounds = await fleet.tenant(Tier.PRO), trials(2, 20)
    async with http() as session:
        await knows(session, fleet, tenant)
        for number in range(rounds):
            sent = await asyncio.gather(
                *(send(session, fleet.proxies[n % 3], tenant, key=f"k{number}") for n in range(24))
            )
            first = [told for code, _, told in sent if code == "ok" and REPLAYED not in told]
            assert len(first) <= 1
            assert {code for code, _, _ in sent} <= {"ok", "idempotency_in_flight", "unavailable"}
            assert (await insist(session, fleet.proxies[0], tenant, key=f"k{number}"))[0] == "ok"
    billed = await fleet.billed(tenant.user_id)
    figure("keys from 24 clients at once that were billed twice", trials=rounds, measured=billed - rounds, promised=0)
    assert billed == rounds
