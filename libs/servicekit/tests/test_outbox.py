"""Nothing stored is lost or published twice: not by crashes of the relay, nor by restarts of either server."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from nats.js import JetStreamContext

from contracts.errors import Permanent
from contracts.events import ExportCancelledV1
from servicekit import outbox, testing
from servicekit.bus import Bus
from servicekit.outbox import Relay, put_event
from servicekit.postgres import Pool, create_pool, transaction
from servicekit.telemetry import Telemetry, current_trace_id
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(pg_pool: Pool) -> Pool:
    await pg_pool.execute(outbox.TABLE_SQL)
    return pg_pool


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def stored(pool: Pool, count: int) -> list[UUID]:
    jobs = [uuid4() for _ in range(count)]
    async with transaction(pool) as conn:
        for job in jobs:
            await put_event(conn, ExportCancelledV1(job_id=job), subject_id=job, source="test", sequence=1)
    return jobs


async def published(jetstream: JetStreamContext) -> list[UUID]:
    state = (await jetstream.stream_info("EXPORT")).state
    messages = [await jetstream.get_msg("EXPORT", seq=n + 1, direct=True) for n in range(state.messages)]
    return [msgspec.json.decode(m.data, type=ExportCancelledV1).job_id for m in messages]


async def test_events_are_relayed_in_order_with_the_writers_trace(bus: Bus, pool: Pool, telemetry: Telemetry) -> None:
    async with running(Relay(pool, bus.jetstream)):
        with telemetry.span("request"):
            trace_id = current_trace_id()
            jobs = await stored(pool, 300)
        await eventually(lambda: _is_empty(pool))
    assert await published(bus.jetstream) == jobs
    headers = (await bus.jetstream.get_msg("EXPORT", seq=1)).headers or {}
    assert trace_id in headers["traceparent"]
    assert headers["ce-type"] == "vision.export.jobs.cancelled.v1"
    assert headers["ce-id"] == headers["Nats-Msg-Id"]


async def test_nothing_is_published_of_a_rolled_back_transaction(bus: Bus, pool: Pool) -> None:
    async def write() -> None:
        async with transaction(pool) as conn:
            await put_event(conn, ExportCancelledV1(job_id=uuid4()), subject_id="x", source="test")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write()
    assert await Relay(pool, bus.jetstream).flush() == 0


async def test_the_same_id_waits_once(bus: Bus, pool: Pool) -> None:
    event = ExportCancelledV1(job_id=uuid4())
    async with transaction(pool) as conn:
        for _ in range(3):
            await put_event(conn, event, subject_id=event.job_id, source="test", event_id="one")
    assert await Relay(pool, bus.jetstream).flush() == 1


class CrashingPool:
    """Fails some commits after their messages were published, as a relay that dies there would."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.crashes = 0

    @asynccontextmanager
    async def acquire(self, **options: float) -> AsyncIterator[object]:
        async with self._pool.acquire(**options) as connection:
            yield CrashingConnection(connection, self)


class CrashingConnection:
    def __init__(self, connection: object, owner: CrashingPool) -> None:
        self._connection = connection
        self._owner = owner

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    async def execute(self, sql: str, *args: object) -> str:
        if sql.startswith("DELETE") and random.random() < 0.4:
            self._owner.crashes += 1
            raise ConnectionError("died between publish and commit")
        return str(await self._connection.execute(sql, *args))


async def test_crashes_between_publish_and_commit_lose_and_double_nothing(
    bus: Bus, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 7)
    jobs = await stored(pool, 200)
    crashing = CrashingPool(pool)

    async def relay() -> None:
        while await pool.fetchval("SELECT count(*) FROM outbox"):
            try:
                await Relay(crashing, bus.jetstream).flush()
            except ConnectionError:
                continue

    await asyncio.gather(relay(), relay(), relay())
    assert crashing.crashes > 0
    assert sorted(await published(bus.jetstream)) == sorted(jobs)


async def test_the_relay_outlives_restarts_of_both_servers(tmp_path: Path, nats_server: NatsServer, bus: Bus) -> None:
    with testing.postgres_server(tmp_path) as postgres:
        pool = await create_pool(postgres.dsn, schema="public")
        await pool.execute(outbox.TABLE_SQL)
        async with running(Relay(pool, bus.jetstream)):
            jobs = await stored(pool, 3)
            await eventually(lambda: _is_empty(pool))
            nats_server.kill()
            jobs += await stored(pool, 3)
            await asyncio.sleep(0.3)
            nats_server.start()
            await eventually(lambda: _is_empty(pool))
            postgres.restart()
            jobs += await stored(pool, 3)
            await eventually(lambda: _is_empty(pool))
        assert await published(bus.jetstream) == jobs
        pool.terminate()


async def _is_empty(pool: Pool) -> bool:
    async with transaction(pool) as conn:
        return not await conn.fetchval("SELECT count(*) FROM outbox")


async def test_what_the_bus_would_never_take_is_refused_where_it_is_written(bus: Bus, pool: Pool) -> None:
    """Such a row would wait for ever, and enough of them would hide everything behind them."""
    async with transaction(pool) as conn:
        with pytest.raises(Permanent) as caught:
            await outbox.put(conn, "export.jobs.cancelled.v1", "e1", {}, bytes(8_000_000))
    assert caught.value.code == "payload_too_large"
    async with transaction(pool) as conn:
        await outbox.put(conn, "export.jobs.cancelled.v1", "e2", {}, bytes(outbox.MAX_BYTES))
    assert await Relay(pool, bus.jetstream).flush() == 1
