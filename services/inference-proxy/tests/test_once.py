"""Idempotency-Key: one unit, one answer, whoever dies in between."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from contracts.errors import ModelportError, Permanent, Transient
from inference_proxy.bodies import InferRequest, Thresholds
from inference_proxy.ledger import Identity, Ledger
from inference_proxy.once import ANSWER_BYTES, CLAIM_S, Once
from inference_proxy.quota import Quota
from servicekit.postgres import Pool

SetClock = Callable[[float], Awaitable[None]]

USER, DEPLOYMENT = uuid4(), uuid4()
NOON = 1_768_435_200.0
LIMIT = 10


def proxy(pool: Pool, name: str = "one") -> Once:
    return Once(Ledger(pool, name, timedelta(seconds=30)), pepper="a pepper for tests only", life_s=60)


def identity(once: Once, key: str = "k", image: bytes = b"picture", deployment: UUID = DEPLOYMENT) -> Identity:
    return once.identify(key, USER, deployment, InferRequest(image=image))


async def used(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT coalesce(sum(used), 0) FROM ledger"))


async def refused_with(outcome: Awaitable[object]) -> ModelportError:
    with pytest.raises(ModelportError) as caught:
        await outcome
    return caught.value


def test_what_makes_two_requests_the_same() -> None:
    once = Once(None, pepper="a pepper for tests only", life_s=60)  # no ledger is asked here
    first = identity(once)
    assert identity(once) == first
    assert first.key != b"k"
    assert identity(once, image=b"other").request != first.request
    loose = once.identify(
        "k", USER, DEPLOYMENT, InferRequest(image=b"picture", thresholds=Thresholds(iou_threshold=0.5))
    )
    assert loose.request != first.request
    for bad in ("k" * 256, "a\x00b", "\n"):
        with pytest.raises(Permanent) as caught:
            identity(once, bad)
        assert caught.value.code == "invalid_request"


@pytest.mark.integration
class TestOneKey:
    async def test_is_billed_once_and_answered_with_the_same_by_every_proxy(self, pool: Pool) -> None:
        one, two = proxy(pool), proxy(pool, "two")
        claim = await one.claim(identity(one), LIMIT)
        assert claim.allowance is not None
        assert claim.allowance.remaining == LIMIT - 1
        await one.keep(claim, b"answer")
        claim.close(answered=True)
        for other in (one, two):
            again = await other.claim(identity(other), LIMIT)
            assert again.kept == b"answer"
            again.close(answered=False)
        assert await used(pool) == 1

    async def test_in_flight_and_another_body(self, pool: Pool) -> None:
        one, two = proxy(pool), proxy(pool, "two")
        await one.claim(identity(one), LIMIT)
        running = await refused_with(two.claim(identity(two), LIMIT))
        assert (running.status, running.code) == (409, "idempotency_in_flight")
        assert 0 < int(running.headers["Retry-After"]) <= CLAIM_S
        mismatch = await refused_with(two.claim(identity(two, image=b"other"), LIMIT))
        assert (mismatch.status, mismatch.code) == (422, "idempotency_mismatch")
        assert await used(pool) == 1

    async def test_of_another_user_or_deployment_is_another_key(self, pool: Pool) -> None:
        once = proxy(pool)
        claim = await once.claim(identity(once), LIMIT)
        await once.keep(claim, b"secret")
        for other in (replace(identity(once), user_id=uuid4()), identity(once, deployment=uuid4())):
            assert (await once.claim(other, LIMIT)).kept == b""

    async def test_unanswered_costs_nothing_and_may_be_repeated_at_once(self, pool: Pool) -> None:
        once = proxy(pool)
        for _ in range(3):
            admission = asyncio.ensure_future(once.claim(identity(once), LIMIT))
            await admission

            class Granted:
                month = admission.result()

            done = asyncio.create_task(_same(Granted))
            await done
            await once.release(done)
            assert await used(pool) == 0

    async def test_closed_unanswered_gives_its_unit_back(self, pool: Pool) -> None:
        once = proxy(pool)
        (await once.claim(identity(once), LIMIT)).close(answered=False)
        async with asyncio.timeout(30):
            while await used(pool):
                await asyncio.sleep(0.01)

    async def test_limit_is_never_exceeded_by_keys_and_leases_together(self, pool: Pool) -> None:
        once = proxy(pool)
        quota = Quota(Ledger(pool, "two", timedelta(seconds=30)), ttl_s=30, now=lambda: NOON)

        async def keyed(n: int) -> None:
            claim = await once.claim(identity(once, f"k{n}"), LIMIT)
            await once.keep(claim, b"answer")
            claim.close(answered=True)

        async def plain() -> None:
            (await quota.reserve(USER, LIMIT)).close(answered=True)

        work = [keyed(n) for n in range(15)] + [plain() for _ in range(15)]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        await quota.close()
        assert outcomes.count(None) == await used(pool) <= LIMIT
        assert {one.code for one in outcomes if isinstance(one, ModelportError)} == {"quota_exceeded"}

    async def test_unlimited_is_counted_too(self, pool: Pool) -> None:
        once = proxy(pool)
        claim = await once.claim(identity(once), None)
        assert claim.allowance is None
        assert await used(pool) == 1

    async def test_too_long_an_answer_is_computed_again_but_not_billed_again(self, pool: Pool) -> None:
        once = proxy(pool)
        for _ in range(2):
            claim = await once.claim(identity(once), LIMIT)
            assert claim.kept == b""
            await once.keep(claim, bytes(ANSWER_BYTES + 1))
            claim.close(answered=True)
        assert await used(pool) == 1
        assert await pool.fetchval("SELECT max(length(answer)) FROM answers") is None


@pytest.mark.integration
class TestDeadProxy:
    async def test_its_request_is_taken_over_and_not_billed_again(self, pool: Pool, set_clock: SetClock) -> None:
        dead, other = proxy(pool), proxy(pool, "two")
        await set_clock(NOON)
        claim = await dead.claim(identity(dead), LIMIT)
        await set_clock(NOON + CLAIM_S - 1)
        assert (await refused_with(other.claim(identity(other), LIMIT))).headers["Retry-After"] == "1"
        await set_clock(NOON + CLAIM_S + 1)
        taken = await other.claim(identity(other), LIMIT)
        assert (await refused_with(dead.keep(claim, b"late"))).code == "idempotency_in_flight"
        claim.close(answered=False)
        await other.keep(taken, b"answer")
        taken.close(answered=True)
        assert (await dead.claim(identity(dead), LIMIT)).kept == b"answer"
        assert await used(pool) == 1

    async def test_claim_of_a_living_one_lasts(self, pool: Pool, set_clock: SetClock) -> None:
        one, other = proxy(pool), proxy(pool, "two")
        await set_clock(NOON)
        await one.claim(identity(one), LIMIT)
        await set_clock(NOON + CLAIM_S - 1)
        await one.flush()
        await set_clock(NOON + 2 * CLAIM_S - 2)
        assert (await refused_with(other.claim(identity(other), LIMIT))).code == "idempotency_in_flight"

    async def test_unit_of_a_request_that_nobody_repeats_returns(self, pool: Pool, set_clock: SetClock) -> None:
        await set_clock(NOON)
        dead = proxy(pool)
        await dead.claim(identity(dead), LIMIT)
        answered = await dead.claim(identity(dead, "other"), LIMIT)
        await dead.keep(answered, b"answer")
        for later, expected in ((CLAIM_S + 1, 2), (CLAIM_S + 61, 1)):
            await set_clock(NOON + later)
            await Ledger(pool, "two", timedelta(seconds=9)).sweep()
            assert await used(pool) == expected
        assert await pool.fetchval("SELECT count(*) FROM answers") == 0


async def test_without_the_ledger_nothing_is_kept_and_nothing_told() -> None:
    class Away:
        async def claim(self, *_: object, **__: object) -> None:
            raise Transient("unavailable", "away")

    once = Once(Away(), pepper="a pepper for tests only", life_s=60)  # only what is asked
    assert (await refused_with(once.claim(identity(once), LIMIT))).status == 503


async def _same(thing: object) -> object:
    return thing
