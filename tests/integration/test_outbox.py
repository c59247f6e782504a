"""The outbox under a relay that is killed at every single point of its work: nothing lost, no ghosts."""

import multiprocessing
import signal
from collections.abc import Callable
from itertools import count
from uuid import UUID

import msgspec
import pytest

from contracts.events import ExportCancelledV1
from servicekit import outbox
from servicekit.bus import Bus
from servicekit.fixtures import Schema
from servicekit.outbox import Relay
from servicekit.postgres import Pool
from servicekit.testing import NatsServer

from . import dying_relay

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture
async def pool(pg_pool: Pool) -> Pool:
    await pg_pool.execute(outbox.TABLE_SQL)
    await pg_pool.execute(dying_relay.TABLE_SQL)
    return pg_pool


async def published(bus: Bus) -> list[UUID]:
    """Everything that the stream has ever been given, doubles included."""
    state = (await bus.jetstream.stream_info("EXPORT")).state
    messages = [await bus.jetstream.get_msg("EXPORT", seq=n + 1, direct=True) for n in range(state.messages)]
    return [msgspec.json.decode(m.data, type=ExportCancelledV1).job_id for m in messages]


def die(kills: int, schema: Schema, server: NatsServer, relay: type[Relay] = Relay) -> None:
    """One process after the other, each killed one point later; after the last point from the first one again.

    What a process could not relay stays in the outbox for its successors.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([dying_relay.__name__, "asyncpg"])
    points = count()
    while kills:
        told = (schema.dsn, schema.name, server.url, relay, next(points))
        child = processes.Process(target=dying_relay.main, args=told)
        child.start()
        child.join()
        if child.exitcode == 0:
            points = count()
            continue
        assert child.exitcode == -signal.SIGKILL
        kills -= 1


async def drained(pool: Pool, bus: Bus) -> tuple[list[UUID], set[UUID]]:
    """What was published and what was committed, once the outbox is empty."""
    while await pool.fetchval("SELECT count(*) FROM outbox"):
        await Relay(pool, bus.jetstream).flush()
    return await published(bus), {record["id"] for record in await pool.fetch("SELECT id FROM things")}


async def test_a_relay_killed_at_every_point_loses_nothing_and_invents_nothing(
    bus: Bus,
    pool: Pool,
    pg_schema: Schema,
    nats_server: NatsServer,
    trials: Callable[[int, int], int],
    figure: Callable[..., None],
) -> None:
    kills = trials(40, 200)
    die(kills, pg_schema, nats_server)
    told, kept = await drained(pool, bus)
    ghosts, twice = set(told) - kept, len(told) - len(set(told))
    figure("outbox, killed relays: events lost", trials=kills, measured=len(kept - set(told)), promised=0)
    figure("outbox, killed relays: events of rolled-back changes", trials=kills, measured=len(ghosts), promised=0)
    figure("outbox, killed relays: events published twice", trials=kills, measured=twice, promised=0)
    assert len(kept) > kills // 2
    assert sorted(told) == sorted(kept)


async def test_a_relay_that_forgets_before_the_bus_has_it_is_caught(
    bus: Bus, pool: Pool, pg_schema: Schema, nats_server: NatsServer
) -> None:
    die(40, pg_schema, nats_server, dying_relay.HastyRelay)
    told, kept = await drained(pool, bus)
    assert kept - set(told)
