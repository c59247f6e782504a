"""Requests per minute: exact over processes, refused without asking where that is known, closed without NATS."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from contracts.errors import Permanent, Transient
from inference_proxy.counters import RECHECK_S, STREAM, NatsCounters
from inference_proxy.ledger import Ledger
from inference_proxy.rate import RateLimiter
from servicekit.bus import Bus
from servicekit.fixtures import Schema
from servicekit.postgres import Pool
from servicekit.testing import NatsServer

SetClock = Callable[[float], Awaitable[None]]

USER = uuid4()
NOON = 1_768_435_200.0


class Counter:
    """Counts in memory and remembers every call."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.calls: list[tuple[str, int]] = []
        self.broken = False

    async def add(self, key: str, delta: int) -> int:
        self.calls.append((key, delta))
        await asyncio.sleep(0)
        if self.broken:
            raise Transient("unavailable", "away")
        self.values[key] = self.values.get(key, 0) + delta
        return self.values[key]


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def admit(limiter: RateLimiter, limit: int, attempts: int, user_id: UUID = USER) -> int:
    """How many of `attempts` at once were admitted."""
    outcomes = await asyncio.gather(*(limiter.admit(user_id, limit) for _ in range(attempts)), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, Permanent) and one.code == "rate_limited" for one in refused)
    return attempts - len(refused)


async def test_exactly_the_limit_in_a_minute_and_again_in_the_next() -> None:
    counter, clock = Counter(), Clock()
    limiter = RateLimiter(counter, clock)
    assert await admit(limiter, 10, 25) == 10
    clock.now += 59
    assert await admit(limiter, 10, 25) == 0
    clock.now += 1
    assert await admit(limiter, 10, 25) == 10


async def test_those_who_come_together_share_one_increment() -> None:
    counter = Counter()
    await admit(RateLimiter(counter, Clock()), 100, 40)
    assert [delta for _, delta in counter.calls] == [40]


async def test_what_is_refused_is_given_back_and_then_nobody_is_asked() -> None:
    counter = Counter()
    limiter = RateLimiter(counter, Clock())
    await admit(limiter, 10, 25)
    await asyncio.sleep(0.01)
    assert list(counter.values.values()) == [10]
    asked = len(counter.calls)
    with pytest.raises(Permanent):
        limiter.check(USER, 10)
    assert await admit(limiter, 10, 5) == 0
    assert len(counter.calls) == asked


async def test_allowance_and_refusal_in_numbers() -> None:
    limiter = RateLimiter(Counter(), Clock(NOON + 12.7))
    allowance = await limiter.admit(USER, 2)
    assert (allowance.limit, allowance.remaining, allowance.window_s, allowance.reset_s) == (2, 1, 60, 48)
    assert (await limiter.admit(USER, 2)).remaining == 0
    with pytest.raises(Permanent) as caught:
        await limiter.admit(USER, 2)
    assert caught.value.status == 429
    assert caught.value.headers == {
        "Retry-After": "48",
        "RateLimit": '"minute";r=0;t=48',
        "RateLimit-Policy": '"minute";q=2;w=60',
    }


async def test_changed_tier_acts_at_once() -> None:
    limiter = RateLimiter(Counter(), Clock())
    assert await admit(limiter, 10, 20) == 10
    await asyncio.sleep(0.01)
    assert await admit(limiter, 15, 20) == 5
    assert await admit(limiter, 10, 1) == 0


async def test_users_do_not_share() -> None:
    limiter = RateLimiter(Counter(), Clock())
    assert await admit(limiter, 3, 5) == 3
    assert await admit(limiter, 3, 5, uuid4()) == 3


async def test_without_an_answer_nobody_is_admitted_and_the_next_one_asks_again() -> None:
    counter = Counter()
    limiter = RateLimiter(counter, Clock())
    counter.broken = True
    outcomes = await asyncio.gather(*(limiter.admit(USER, 10) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(one, Transient) for one in outcomes)
    counter.broken = False
    assert await admit(limiter, 10, 20) == 10


class Shared:
    """Two proxies on one NATS and one ledger."""

    def __init__(self, url: str, pool: Pool, clock: Clock) -> None:
        self.url = url
        self.ledgers = [Ledger(pool, name, timedelta(seconds=30)) for name in ("one", "two")]
        self.counters = [NatsCounters(one.epoch) for one in self.ledgers]
        self.limiters = [RateLimiter(one, clock) for one in self.counters]

    async def __aenter__(self) -> list[RateLimiter]:
        for ledger, counters, limiter in zip(self.ledgers, self.counters, self.limiters, strict=True):
            await ledger.attend(600)
            await counters.connect(self.url, restore=limiter.admitted)
        return self.limiters

    async def __aexit__(self, *error: object) -> None:
        for counters in self.counters:
            await counters.close()


@pytest.mark.integration
async def test_two_proxies_share_a_minute(nats_server: NatsServer, pool: Pool) -> None:
    async with Shared(nats_server.url, pool, Clock()) as limiters:
        granted = await asyncio.gather(*(admit(one, 100, 80) for one in limiters))
        assert sum(granted) == 100


@pytest.mark.integration
async def test_server_that_lost_its_counters_gets_them_back(nats_server: NatsServer, pool: Pool) -> None:
    async with Shared(nats_server.url, pool, Clock()) as limiters:
        assert await admit(limiters[0], 10, 4) == 4
        assert await admit(limiters[1], 10, 3) == 3
        await asyncio.to_thread(nats_server.restart)
        await _answering(*limiters)
        granted = [await admit(one, 10, 10) for one in limiters]
        assert sum(granted) == 3


@pytest.mark.integration
async def test_stream_that_somebody_deleted_is_noticed_by_all(nats_server: NatsServer, pool: Pool, bus: Bus) -> None:
    async with Shared(nats_server.url, pool, Clock()) as limiters:
        assert await admit(limiters[0], 10, 4) == 4
        assert await admit(limiters[1], 10, 3) == 3
        await bus.jetstream.delete_stream(STREAM)
        await _answering(limiters[1], limiters[0])
        granted = [await admit(one, 10, 10) for one in limiters]
        assert sum(granted) == 3


@pytest.mark.integration
async def test_minute_in_which_counters_and_a_proxy_were_lost_is_closed(
    nats_server: NatsServer, pool: Pool, set_clock: SetClock
) -> None:
    clock = Clock()
    await set_clock(NOON)
    async with Shared(nats_server.url, pool, clock) as limiters:
        assert await admit(limiters[0], 10, 6) == 6
        assert await admit(limiters[1], 10, 1) == 1
        await asyncio.to_thread(nats_server.restart)
        for now in (NOON + 3, NOON + 59, NOON + 60):
            await set_clock(now)
            clock.now = now
            await asyncio.sleep(2 * RECHECK_S)
            with pytest.raises(Transient) as caught:
                await limiters[1].admit(USER, 10)
            assert caught.value.headers["Retry-After"] == "2"
        await set_clock(NOON + 62)
        clock.now = NOON + 62
        await _answering(limiters[1])
        assert await admit(limiters[1], 10, 20) == 10


async def test_what_a_frozen_proxy_asked_long_ago_is_worth_nothing() -> None:
    clock = Clock()

    class Slow(Counter):
        async def add(self, key: str, delta: int) -> int:
            clock.now += 130
            return await super().add(key, delta)

    with pytest.raises(Transient):
        await RateLimiter(Slow(), clock).admit(USER, 10)


@pytest.mark.integration
async def test_no_server_means_nobody_is_admitted(nats_server: NatsServer, pool: Pool) -> None:
    async with Shared(nats_server.url, pool, Clock()) as limiters:
        await limiters[0].admit(USER, 10)
        await asyncio.to_thread(nats_server.kill)
        with pytest.raises(Transient) as caught:
            await limiters[0].admit(USER, 10)
        assert caught.value.status == 503
        assert caught.value.headers["Retry-After"] == "2"


async def _answering(*limiters: RateLimiter) -> None:
    """Wait until all of these proxies have reconnected and count again; other users' minutes are spent on it."""
    async with asyncio.timeout(60):
        while True:
            outcomes = [(await asyncio.gather(one.admit(uuid4(), 10), return_exceptions=True))[0] for one in limiters]
            if not any(isinstance(one, Transient) for one in outcomes):
                return
            await asyncio.sleep(0.1)


ASKER = """
import asyncio, sys
from datetime import timedelta
from uuid import UUID
from contracts.errors import Permanent
from inference_proxy.counters import NatsCounters
from inference_proxy.ledger import Ledger
from inference_proxy.rate import RateLimiter
from servicekit.postgres import create_pool

async def main(url, dsn, schema, name, user, now, limit, attempts):
    pool = await create_pool(dsn, schema=schema, max_size=2)
    ledger = Ledger(pool, name, timedelta(seconds=30))
    await ledger.attend(600)
    counters = NatsCounters(ledger.epoch)
    limiter = RateLimiter(counters, lambda: float(now))
    await counters.connect(url, restore=limiter.admitted)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    granted = 0
    async def one(n):
        nonlocal granted
        await asyncio.sleep(n * 0.0005)
        try:
            await limiter.admit(UUID(user), int(limit))
        except Permanent:
            return
        granted += 1
    await asyncio.gather(*(one(n) for n in range(int(attempts))))
    await counters.close()
    print(granted, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.integration
@pytest.mark.parametrize("limit", [10, 1000])
async def test_three_processes_admit_exactly_the_limit(
    nats_server: NatsServer, pool: Pool, pg_schema: Schema, tmp_path: Path, limit: int
) -> None:
    script = tmp_path / "asker.py"
    script.write_text(ASKER)
    pipe = asyncio.subprocess.PIPE
    place = (str(script), nats_server.url, pg_schema.dsn, pg_schema.name)
    asked = (str(USER), str(NOON), str(limit), str(limit // 2 + 10))
    askers = [
        await asyncio.create_subprocess_exec(sys.executable, *place, f"p{n}", *asked, stdin=pipe, stdout=pipe)
        for n in range(3)
    ]
    for one in askers:
        assert one.stdout is not None
        assert await one.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(one.communicate(b"go\n") for one in askers))
    assert sum(int(out) for out, _ in answers) == limit
