"""Limits are exact whatever dies: three proxies, 64 clients, kills, wrong clocks, outages, midnight."""

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from random import Random

import aiohttp
import pytest

from contracts.vocabulary import Tier
from tests.attack.fleet import MINUTE, PATIENCE_S, Fleet, Tenant, eventually, http, insist, knows, send

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(900)]

CLIENTS = 64
LEAST = 32
"""Units that one dead proxy may have held for one user: as many requests as a user can have under way, and no fewer than are leased ahead."""
Trials = Callable[[int, int], int]
Figure = Callable[..., None]


async def storm(fleet: Fleet, rounds: int) -> None:
    """Everything that can happen, in turn: each proxy is killed, clocks jump, NATS, PostgreSQL and both with a proxy."""

    async def revive(*servers: object) -> None:
        for server in servers:
            await asyncio.to_thread(server.restart)  # servers of three kinds

    for number in range(rounds):
        one, two, three = (fleet.proxies[(number + index) % 3] for index in range(3))
        await revive(one.server)
        for wrong in (3700.0, -90.0, 40 * 86_400.0, 0.0):
            two.skew.write_text(str(wrong))
            await asyncio.sleep(0.2)
        await revive(fleet.nats)
        await revive(fleet.postgres)
        three.server.kill()
        await revive(fleet.nats, three.server)


async def hammer(session: aiohttp.ClientSession, fleet: Fleet, tenant: Tenant, over: asyncio.Event) -> None:
    """One client: any proxy, again and again; a refusal is not waited out for long."""
    order = Random(id(tenant))
    while not over.is_set():
        code, _, _ = await send(session, order.choice(fleet.proxies), tenant)
        await asyncio.sleep(0.01 if code == "ok" else 0.1)


async def settle_one(
    session: aiohttp.ClientSession, fleet: Fleet, tenant: Tenant, key: str, over: asyncio.Event
) -> None:
    """One keyed request, repeated at any proxy until it is answered; then twice more, to see the same answer."""
    order = Random(key)
    answers: list[bytes] = []
    while len(answers) < 3:
        code, body, _ = await send(session, order.choice(fleet.proxies), tenant, key=key)
        answers += [body] if code == "ok" else []
        await asyncio.sleep(0.02 if code == "ok" else 0.2)
    tenant.codes["different"] += len(set(answers)) - 1


async def keyed(session: aiohttp.ClientSession, fleet: Fleet, tenant: Tenant, over: asyncio.Event, name: str) -> int:
    """One client of keyed requests; how many it made."""
    for number in itertools.count(1):
        await settle_one(session, fleet, tenant, f"{name}/{number}", over)
        if over.is_set():
            return number
    raise AssertionError("it counts for ever")


async def exhausted(session: aiohttp.ClientSession, fleet: Fleet, tenant: Tenant, month: int) -> None:
    """Until every proxy refuses and nobody holds anything: what dead proxies held has returned and was used up, too."""

    async def refused_by_all() -> bool:
        sent = await asyncio.gather(*(send(session, fleet.proxies[n % 3], tenant) for n in range(CLIENTS)))
        return {code for code, _, _ in sent} == {"quota_exceeded"}

    async with asyncio.timeout(3 * PATIENCE_S):
        while await fleet.billed(tenant.user_id) < month or await fleet.held():
            await eventually(refused_by_all)
            await eventually(partial(is_settled, fleet))


async def test_nothing_goes_beyond_a_limit_and_nothing_is_billed_twice_whatever_dies(
    fleet: Fleet, trials: Trials, figure: Figure, month: int
) -> None:
    rounds = trials(1, 4)
    bounded, wide, hasty, careful = [
        await fleet.tenant(tier) for tier in (Tier.FREE, Tier.PRO, Tier.ENTERPRISE, Tier.PRO)
    ]
    over = asyncio.Event()
    async with http() as session, asyncio.TaskGroup() as clients:
        await knows(session, fleet, bounded, wide, hasty, careful)
        for tenant in (bounded, wide, hasty) * (CLIENTS // 4):
            clients.create_task(hammer(session, fleet, tenant, over))
        makers = [clients.create_task(keyed(session, fleet, careful, over, f"client {n}")) for n in range(CLIENTS // 4)]
        await storm(fleet, rounds)
        over.set()
        keys = sum(await asyncio.gather(*makers))
    async with http() as session:
        await exhausted(session, fleet, bounded, month)
    billed = {name: await fleet.billed(one.user_id) for name, one in (("wide", wide), ("careful", careful))}
    beyond = max(0, bounded.answered - month) + max(0, await fleet.billed(bounded.user_id) - month)
    over_minutes = sum(max(0, count - MINUTE) for count in hasty.admitted.values())
    free, charged = max(0, wide.answered - billed["wide"]), max(0, billed["wide"] - wide.answered)
    kills = 2 * rounds
    bound = kills * LEAST + wide.codes["unknown"]
    asked = sum(sum(one.codes.values()) for one in (bounded, wide, hasty, careful))
    figure("requests beyond a month's limit", trials=asked, measured=beyond, promised=0)
    figure("requests beyond a minute's limit", trials=sum(hasty.codes.values()), measured=over_minutes, promised=0)
    figure("answered requests that were not billed", trials=wide.answered, measured=free, promised=0)
    figure("keyed requests billed not at all or twice", trials=keys, measured=abs(billed["careful"] - keys), promised=0)
    figure("keyed requests answered differently", trials=keys, measured=careful.codes["different"], promised=0)
    what = f"unkeyed units charged without an answer after {kills} kills"
    figure(what, trials=wide.answered, measured=charged, promised=f"≤ {bound}")
    assert (beyond, over_minutes, free) == (0, 0, 0)
    assert (billed["careful"], careful.codes["different"]) == (keys, 0)
    assert charged <= bound
    assert bounded.answered >= month - bound
    assert hasty.answered
    assert sum(one.impossible for one in (bounded, wide, hasty, careful)) == 0


async def test_minute_is_reached_exactly_by_all_proxies_together(fleet: Fleet) -> None:
    hasty = await fleet.tenant(Tier.ENTERPRISE)
    async with http() as session:
        await knows(session, fleet, hasty)

        async def full() -> bool:
            await asyncio.gather(*(send(session, fleet.proxies[n % 3], hasty) for n in range(CLIENTS)))
            return max(hasty.admitted.values(), default=0) >= MINUTE

        await eventually(full)
        assert max(hasty.admitted.values()) == MINUTE
        assert set(hasty.codes) <= {"ok", "rate_limited", "unavailable"}


async def test_month_ends_at_midnight_utc_for_everybody_at_once(
    fleet: Fleet, figure: Figure, trials: Trials, month: int
) -> None:
    rounds, wrong, asked = trials(1, 3), 0, 0
    for number in range(rounds):
        tenant, over = await fleet.tenant(Tier.FREE), asyncio.Event()
        midnight = datetime(2031, 2 + number, 1, tzinfo=UTC)
        async with http() as session, asyncio.TaskGroup() as clients:
            await knows(session, fleet, tenant)
            await set_clock(fleet, midnight.timestamp() - time.time() - 4)
            for _ in range(CLIENTS):
                clients.create_task(hammer(session, fleet, tenant, over))
            await eventually(partial(is_used_up, fleet, tenant, month))
            over.set()
        await eventually(partial(is_settled, fleet))
        await set_clock(fleet, 0)
        old, new = await used(fleet, tenant)
        wrong += max(0, tenant.answered - old - new) + max(0, old - month) + max(0, new - month)
        asked += sum(tenant.codes.values())
    figure("requests at midnight beyond a limit or in neither month", trials=asked, measured=wrong, promised=0)
    assert wrong == 0


async def used(fleet: Fleet, tenant: Tenant) -> tuple[int, int]:
    """Of the month that ended and of the one that began."""
    rows = await fleet.ask("SELECT used FROM ledger WHERE user_id = $1 ORDER BY month DESC LIMIT 2", tenant.user_id)
    new, old = (int(row["used"]) for row in rows)
    return old, new


async def is_used_up(fleet: Fleet, tenant: Tenant, month: int) -> bool:
    """Whether there is a second month, of which nothing is left to take."""
    rows = await fleet.ask(
        "SELECT used + coalesce((SELECT sum(granted) FROM held h WHERE (h.user_id, h.month) = (l.user_id, l.month)), 0)"
        " AS taken FROM ledger l WHERE user_id = $1 ORDER BY month",
        tenant.user_id,
    )
    return len(rows) == 2 and rows[-1]["taken"] == month


async def is_settled(fleet: Fleet) -> bool:
    return await fleet.held() == 0


async def set_clock(fleet: Fleet, shift_s: float) -> None:
    """The database's clock is wrong by so much from now on, for all proxies alike."""
    body = f"SELECT clock_timestamp() + make_interval(secs => {shift_s})"
    await fleet.ask(f"CREATE OR REPLACE FUNCTION utc_now() RETURNS timestamptz LANGUAGE sql AS '{body}'")


async def test_without_the_ledger_leases_are_spent_and_then_everything_is_refused(fleet: Fleet) -> None:
    tenant = await fleet.tenant(Tier.FREE)
    async with http() as session:
        await knows(session, fleet, tenant)
        for _ in range(3):
            assert (await insist(session, fleet.proxies[0], tenant))[0] == "ok"
        await asyncio.to_thread(fleet.postgres.kill)
        try:
            answers = [await send(session, fleet.proxies[0], tenant) for _ in range(12)]
            keyed_code, _, told = await send(session, fleet.proxies[0], tenant, key="k")
        finally:
            await asyncio.to_thread(fleet.postgres.start)
        codes = [code for code, _, _ in answers]
        served = codes.index("unavailable")
        assert codes == ["ok"] * served + ["unavailable"] * (12 - served)
        assert {told["Retry-After"] for code, _, told in answers if code == "unavailable"} == {"2"}
        assert (keyed_code, told["Retry-After"]) == ("unavailable", "2")

        async def served_again() -> bool:
            return (await send(session, fleet.proxies[0], tenant))[0] == "ok"

        await eventually(served_again)


async def test_proxy_that_lost_the_bus_believes_no_key(fleet: Fleet) -> None:
    """What would be refused without asking any limit is refused as unavailable: the key itself is in doubt."""
    tenant = await fleet.tenant(Tier.PRO)
    async with http() as session:
        await knows(session, fleet, tenant)

        async def all_answer(code: str) -> bool:
            sent = [await send(session, proxy, tenant, media_type="text/plain") for proxy in fleet.proxies]
            return {one[0] for one in sent} == {code}

        await asyncio.to_thread(fleet.nats.kill)
        try:
            await eventually(partial(all_answer, "unavailable"))
        finally:
            await asyncio.to_thread(fleet.nats.start)
        await eventually(partial(all_answer, "unsupported_media_type"))
