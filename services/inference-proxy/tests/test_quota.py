"""The monthly quota: the slices in memory, the ledger in PostgreSQL, proxies that die."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from contracts.errors import Permanent, Transient
from inference_proxy.ledger import Ledger, migrations
from inference_proxy.quota import IDLE_S, Quota, Reservation, month_at
from servicekit.fixtures import Schema
from servicekit.migrate import migrate
from servicekit.postgres import Pool, create_pool
from servicekit.testing import PostgresServer

SetClock = Callable[[float], Awaitable[None]]

USER = uuid4()
JANUARY = 1_768_435_200.0  # 2026-01-15 00:00 UTC
FEBRUARY = 1_769_904_000.0
TTL_S = 30.0


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = JANUARY
        self.monotonic = 1000.0

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quota_on(pool: Pool, clock: Clock, name: str = "one") -> Quota:
    ledger = Ledger(pool, name, timedelta(seconds=TTL_S))
    return Quota(ledger, ttl_s=TTL_S, now=lambda: clock.now, monotonic=lambda: clock.monotonic)


async def used(pool: Pool, user_id: UUID = USER) -> int:
    return int(await pool.fetchval("SELECT coalesce(sum(used), 0) FROM ledger WHERE user_id = $1", user_id))


async def take(quota: Quota, limit: int | None, user_id: UUID = USER) -> Reservation:
    reservation = await quota.reserve(user_id, limit)
    reservation.close(answered=True)
    return reservation


async def take_all(quota: Quota, limit: int, attempts: int) -> int:
    """How many of `attempts` were granted."""

    async def one() -> int:
        await take(quota, limit)
        return 1

    outcomes = await asyncio.gather(*(one() for _ in range(attempts)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {getattr(error, "code", repr(error)) for error in refused} <= {"quota_exceeded"}
    return attempts - len(refused)


async def begun_renewals() -> None:
    """Returns when no proxy is asking the ledger any more."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


@pytest.mark.integration
class TestOneProxy:
    async def test_exactly_the_limit_is_granted_and_booked(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        assert await take_all(quota, 100, 150) == 100
        await quota.close()
        assert await used(pool) == 100
        assert await pool.fetchval("SELECT count(*) FROM held") == 0

    async def test_refusal_says_when_the_month_ends(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(JANUARY)
        quota = quota_on(pool, clock)
        first = await take(quota, 1)
        assert first.allowance is not None
        assert (first.allowance.limit, first.allowance.remaining) == (1, 0)
        with pytest.raises(Permanent) as caught:
            await quota.reserve(USER, 1)
        seconds = 17 * 86_400
        assert caught.value.status == 429
        assert caught.value.headers["Retry-After"] == str(seconds)
        assert caught.value.headers["RateLimit"] == f'"month";r=0;t={seconds}'

    async def test_remaining_counts_down_by_one(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        left = [(await take(quota, 1000)).allowance for _ in range(40)]
        assert [one.remaining for one in left if one] == list(range(999, 959, -1))

    async def test_failed_request_costs_nothing(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        for _ in range(10):
            (await quota.reserve(USER, 3)).close(answered=False)
        assert await take_all(quota, 3, 10) == 3
        await quota.close()
        assert await used(pool) == 3

    async def test_unit_is_settled_once(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        reservation = await quota.reserve(USER, 3)
        reservation.close(answered=True)
        reservation.close(answered=False)
        await quota.close()
        assert await used(pool) == 1

    async def test_what_an_idle_user_holds_returns(self, pool: Pool, clock: Clock) -> None:
        quota, other = quota_on(pool, clock), quota_on(pool, clock, name="two")
        await take_all(quota, 100, 10)
        assert await pool.fetchval("SELECT sum(granted) FROM held") > 10
        clock.pass_s(IDLE_S + 1)
        await quota.flush()
        assert await pool.fetchval("SELECT count(*) FROM held") == 0
        assert await take_all(other, 100, 200) == 90

    async def test_slow_request_that_fails_at_last_costs_nothing(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        slow = await quota.reserve(USER, 5)
        clock.pass_s(IDLE_S + 5)
        await quota.flush()
        slow.close(answered=False)
        await quota.close()
        assert await used(pool) == 0

    async def test_month_ends_in_utc(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(FEBRUARY - 10)
        quota = quota_on(pool, clock)
        assert await take_all(quota, 5, 8) == 5
        await set_clock(FEBRUARY)
        clock.pass_s(10)
        assert await take_all(quota, 5, 8) == 5
        await quota.close()
        rows = await pool.fetch("SELECT month, used FROM ledger ORDER BY month")
        assert [tuple(row) for row in rows] == [(date(2026, 1, 1), 5), (date(2026, 2, 1), 5)]

    async def test_units_of_the_old_month_are_not_spent_in_the_new_one_before_the_ledger_is_asked(
        self, pool: Pool, clock: Clock, set_clock: SetClock
    ) -> None:
        await set_clock(FEBRUARY - 10)
        quota = quota_on(pool, clock)
        await take(quota, 1000)
        await take(quota, 1000)
        await set_clock(FEBRUARY)
        clock.pass_s(9.9)
        await take(quota, 1000)
        clock.pass_s(0.1)
        await take(quota, 1000)
        await quota.close()
        rows = await pool.fetch("SELECT month, used FROM ledger ORDER BY month")
        assert [tuple(row) for row in rows] == [(date(2026, 1, 1), 3), (date(2026, 2, 1), 1)]

    async def test_request_under_way_at_midnight_belongs_to_the_month_in_which_it_began(
        self, pool: Pool, clock: Clock, set_clock: SetClock
    ) -> None:
        await set_clock(FEBRUARY - 1)
        quota = quota_on(pool, clock)
        answered, failed = await quota.reserve(USER, 10), await quota.reserve(USER, 10)
        await set_clock(FEBRUARY)
        clock.pass_s(2)
        await take(quota, 10)
        answered.close(answered=True)
        failed.close(answered=False)
        await quota.close()
        rows = await pool.fetch("SELECT month, used FROM ledger ORDER BY month")
        assert [tuple(row) for row in rows] == [(date(2026, 1, 1), 1), (date(2026, 2, 1), 1)]

    async def test_own_clock_decides_no_month(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(JANUARY)
        quota = quota_on(pool, clock)
        assert await take_all(quota, 5, 8) == 5
        clock.now = FEBRUARY
        assert await take_all(quota, 5, 8) == 0

    async def test_changed_tier_acts_at_once(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        assert await take_all(quota, 10, 20) == 10
        assert await take_all(quota, 30, 50) == 20
        with pytest.raises(Permanent):
            await quota.reserve(USER, 10)

    async def test_unlimited_is_counted_without_waiting(self, pool: Pool, clock: Clock) -> None:
        quota = quota_on(pool, clock)
        for _ in range(7):
            assert (await take(quota, None)).allowance is None
        (await quota.reserve(USER, None)).close(answered=False)
        assert await used(pool) == 0
        await quota.flush()
        assert await used(pool) == 7
        await quota.close()
        assert await used(pool) == 7

    async def test_unlimited_use_counts_after_a_downgrade(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(JANUARY)
        quota = quota_on(pool, clock)
        for _ in range(8):
            await take(quota, None)
        await quota.flush()
        assert await take_all(quota, 10, 5) == 2


@pytest.mark.integration
class TestDeadProxy:
    """Dead is who has not been heard of for `TTL_S` of the ledger's clock."""

    async def test_its_lease_returns_after_expiry_but_for_what_it_may_have_spent(
        self, pool: Pool, clock: Clock, set_clock: SetClock
    ) -> None:
        await set_clock(JANUARY)
        dead, other = quota_on(pool, clock, name="dead"), quota_on(pool, clock, name="other")
        assert await take_all(dead, 2000, 20) == 20
        await begun_renewals()
        granted, ceiling = await pool.fetchrow("SELECT granted, ceiling FROM held")
        assert 20 <= ceiling < granted
        allowance = (await take(other, 2000)).allowance
        assert allowance is not None
        assert allowance.remaining == 2000 - granted - 1
        await set_clock(JANUARY + TTL_S + 1)
        assert await take_all(other, 2000, 2100) == 2000 - ceiling - 1

    async def test_whole_limit_survives_a_crash_near_it(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(JANUARY)
        dead, other = quota_on(pool, clock, name="dead"), quota_on(pool, clock, name="other")
        spent = await take_all(dead, 30, 10)
        await begun_renewals()
        await set_clock(JANUARY + TTL_S + 1)
        rest = await take_all(other, 30, 60)
        assert spent + rest <= 30
        assert rest >= 30 - spent - 10

    async def test_proxy_that_was_frozen_past_its_lease_starts_a_new_one(
        self, pool: Pool, clock: Clock, set_clock: SetClock
    ) -> None:
        await set_clock(JANUARY)
        frozen, other = quota_on(pool, clock, name="frozen"), quota_on(pool, clock, name="other")
        before = await take_all(frozen, 40, 10)
        await begun_renewals()
        await set_clock(JANUARY + TTL_S + 1)
        meanwhile = await take_all(other, 40, 5)
        after = await take_all(frozen, 40, 100)
        rest = await take_all(other, 40, 100)
        assert before + meanwhile + after + rest <= 40
        await frozen.close()
        await other.close()
        assert await used(pool) <= 40

    async def test_sweep_settles_users_who_never_come_back(self, pool: Pool, clock: Clock, set_clock: SetClock) -> None:
        await set_clock(JANUARY)
        await take(quota_on(pool, clock, name="dead"), 100)
        await begun_renewals()
        await set_clock(JANUARY + TTL_S + 1)
        await Ledger(pool, "other", timedelta(seconds=9)).sweep()
        assert await pool.fetchval("SELECT count(*) FROM held") == 0
        assert await used(pool) >= 1


@pytest.mark.integration
async def test_without_the_ledger_what_is_in_hand_is_spent_and_then_refused(
    postgres_server: PostgresServer, pg_schema: Schema, clock: Clock
) -> None:
    await migrate(pg_schema.dsn, pg_schema.name, migrations())
    pool = await create_pool(pg_schema.dsn, schema=pg_schema.name)
    quota = quota_on(pool, clock)
    await take_all(quota, 5000, 20)
    await begun_renewals()
    await pool.close()
    outcomes = [(await asyncio.gather(take(quota, 5000), return_exceptions=True))[0] for _ in range(50)]
    granted = [one for one in outcomes if isinstance(one, Reservation)]
    refused = [one for one in outcomes if isinstance(one, Transient)]
    assert len(granted) + len(refused) == 50
    assert len(granted) < 10
    assert {error.status for error in refused} == {503}


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (0.0, date(1970, 1, 1)),
        (JANUARY, date(2026, 1, 1)),
        (1_798_761_599.0, date(2026, 12, 1)),
        (1_709_251_199.5, date(2024, 2, 1)),
    ],
)
def test_months(now: float, first: date) -> None:
    assert month_at(now) == first
