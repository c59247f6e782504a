"""Only the newest attempt may speak."""

import asyncio

import msgspec
import pytest

from servicekit.bus import Bus
from servicekit.leases import KEEP, Busy, Done, Lease, LeaseLost, LeaseRecord, Leases

pytestmark = pytest.mark.integration


async def taken(leases: Leases, owner: str) -> Lease:
    lease = await leases.take("job", owner)
    assert isinstance(lease, Lease)
    return lease


async def test_a_key_is_taken_kept_and_completed(bus: Bus) -> None:
    leases = Leases(bus)
    lease = await taken(leases, "a")
    assert (lease.attempt, lease.failures) == (1, 0)
    assert isinstance(await leases.take("job", "b"), Busy)
    await lease.heartbeat()
    assert await lease.still_mine()
    await lease.complete()
    assert await leases.take("job", "b") == Done(1)


async def test_a_zombie_cannot_speak_after_its_successor(bus: Bus) -> None:
    leases = Leases(bus, stale_s=0.2)
    zombie = await taken(leases, "a")
    await asyncio.sleep(0.25)
    successor = await taken(leases, "b")
    assert (successor.attempt, successor.failures) == (2, 1)
    assert not await zombie.still_mine()
    for act in (zombie.heartbeat, zombie.complete):
        with pytest.raises(LeaseLost):
            await act()
    with pytest.raises(LeaseLost):
        await zombie.release(failed=True)
    await successor.complete()
    with pytest.raises(LeaseLost):
        await zombie.complete()


async def test_one_of_many_takers_wins(bus: Bus) -> None:
    leases = Leases(bus)
    results = await asyncio.gather(*(leases.take("job", "same-name") for _ in range(20)))
    assert sum(isinstance(result, Lease) for result in results) == 1


async def test_a_released_key_is_free_at_once_and_counts_failures_only(bus: Bus) -> None:
    leases = Leases(bus)
    await (await taken(leases, "a")).release(failed=False)
    second = await taken(leases, "a")
    assert (second.attempt, second.failures) == (2, 0)
    await second.release(failed=True)
    assert ((await taken(leases, "a")).failures) == 1


async def test_heartbeats_side_by_side_do_not_lose_the_lease(bus: Bus) -> None:
    lease = await taken(Leases(bus), "a")
    await asyncio.gather(*(lease.heartbeat() for _ in range(20)))


async def test_an_own_write_whose_ack_was_lost_is_recognised(bus: Bus) -> None:
    lease = await taken(Leases(bus), "a")
    bucket = await bus.kv("leases")
    entry = await bucket.get("job")
    record = msgspec.json.decode(entry.value or b"", type=LeaseRecord)
    await bucket.put("job", msgspec.json.encode(msgspec.structs.replace(record, heartbeat=record.heartbeat + 1)))
    await lease.heartbeat()
    await lease.complete()


async def test_buckets_are_made_bound_and_updated(bus: Bus) -> None:
    bucket = await bus.kv("workers", ttl=45, memory=True)
    await bucket.put("a", b"1")
    assert (await (await bus.kv("workers", ttl=60, memory=True)).get("a")).value == b"1"
    assert (await (await bus.kv("workers", ttl=60, memory=True)).status()).ttl == 60


async def test_old_leases_are_forgotten_whoever_opens_the_bucket(bus: Bus) -> None:
    """Who only looks into the bucket does not say how long it keeps; `Leases` does, also for one made before."""
    await bus.kv("leases")
    await Leases(bus).take("a", "me")
    assert (await (await bus.kv("leases")).status()).ttl == KEEP.total_seconds()
