"""Requests per minute: exact over processes, refused without asking where that is known, closed without NATS."""

import asyncio
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from contracts.errors import Permanent, Transient
from inference_proxy.counters import NatsCounters
from inference_proxy.rate import RateLimiter
from servicekit.testing import NatsServer

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
    """Two proxies on one NATS."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.counters = [NatsCounters(), NatsCounters()]
        self.limiters = [RateLimiter(one, clock) for one in self.counters]

    async def __aenter__(self) -> list[RateLimiter]:
        for counters, limiter in zip(self.counters, self.limiters, strict=True):
            await counters.connect(self.url, restore=limiter.admitted)
        return self.limiters

    async def __aexit__(self, *error: object) -> None:
        for counters in self.counters:
            await counters.close()


@pytest.mark.integration
async def test_two_proxies_share_a_minute(nats_server: NatsServer) -> None:
    async with Shared(nats_server.url, Clock()) as limiters:
        granted = await asyncio.gather(*(admit(one, 100, 80) for one in limiters))
        assert sum(granted) == 100


@pytest.mark.integration
async def test_server_that_lost_its_counters_gets_them_back(nats_server: NatsServer) -> None:
    async with Shared(nats_server.url, Clock()) as limiters:
        assert await admit(limiters[0], 10, 4) == 4
        assert await admit(limiters[1], 10, 3) == 3
        await asyncio.to_thread(nats_server.restart)
        await _answering(limiters[0])
        await _answering(limiters[1])
        granted = [await admit(one, 10, 10) for one in limiters]
        assert sum(granted) == 3


@pytest.mark.integration
async def test_no_server_means_nobody_is_admitted(nats_server: NatsServer) -> None:
    async with Shared(nats_server.url, Clock()) as limiters:
        await limiters[0].admit(USER, 10)
        await asyncio.to_thread(nats_server.kill)
        with pytest.raises(Transient) as caught:
            await limiters[0].admit(USER, 10)
        assert caught.value.status == 503
        assert caught.value.headers["Retry-After"] == "2"


async def _answering(limiter: RateLimiter) -> None:
    """Wait until this proxy has reconnected; somebody else's minute is spent on it."""
    async with asyncio.timeout(20):
        while True:
            try:
                await limiter.admit(uuid4(), 10)
            except Transient:
                await asyncio.sleep(0.1)
            else:
                return


ASKER = """
import asyncio, sys
from uuid import UUID
from contracts.errors import Permanent
from inference_proxy.counters import NatsCounters
from inference_proxy.rate import RateLimiter

async def main(url, user, now, limit, attempts):
    counters = NatsCounters()
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
    await asyncio.sleep(0.2)
    await counters.close()
    print(granted, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.integration
@pytest.mark.parametrize("limit", [10, 1000])
async def test_three_processes_admit_exactly_the_limit(nats_server: NatsServer, tmp_path: Path, limit: int) -> None:
    script = tmp_path / "asker.py"
    script.write_text(ASKER)
    pipe = asyncio.subprocess.PIPE
    arguments = (str(script), nats_server.url, str(USER), str(time.time()), str(limit), str(limit // 2 + 10))
    askers = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe) for _ in range(3)
    ]
    for one in askers:
        assert one.stdout is not None
        assert await one.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(one.communicate(b"go\n") for one in askers))
    assert sum(int(out) for out, _ in answers) == limit
