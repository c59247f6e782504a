"""A process that writes into the outbox, relays it, and is killed at one exact point of its work."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import nats

from contracts.events import ExportCancelledV1
from servicekit.outbox import Relay, put_event
from servicekit.postgres import create_pool, transaction

EVENTS = 3
TABLE_SQL = "CREATE TABLE IF NOT EXISTS things (id uuid PRIMARY KEY)"


class HastyRelay(Relay):
    """The broken variant that the tests must catch: it forgets the rows before the bus has them."""

    async def flush(self) -> int:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch("DELETE FROM outbox RETURNING id, event_id, subject, headers, body")
        for row in rows:
            await self._publish(row)
        return len(rows)


class Fuse:
    """Counts the process' dealings with its servers and kills it by SIGKILL at one of them."""

    def __init__(self, burns_at: int) -> None:
        self._left = burns_at

    def burn(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class Fused:
    """Passes everything on; before and after each awaited call of `names` the fuse burns down by one."""

    def __init__(self, inner: Any, fuse: Fuse, names: tuple[str, ...]) -> None:
        self._inner = inner
        self._fuse = fuse
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._fused(found) if name in self._names else found

    def _fused(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def dealing(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            answer = await call(*args, **options)
            self._fuse.burn()
            return answer

        return dealing

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._fuse.burn()
        async with self._inner.transaction():
            yield
            self._fuse.burn()
        self._fuse.burn()

    @asynccontextmanager
    async def _lent(self, **options: float) -> AsyncIterator["Fused"]:
        async with self._inner.acquire(**options) as connection:
            yield Fused(connection, self._fuse, ("execute", "fetch"))


class FusedPool(Fused):
    """A pool whose connections are fused; `acquire` serves both as a context and by awaiting it."""

    def acquire(self, **options: float) -> Any:
        return self._lent(**options)


async def work(dsn: str, schema: str, nats_url: str, relay: type[Relay], burns_at: int) -> None:
    """Change `things` and the outbox together (the last change is rolled back), then relay; -1: nobody dies."""
    fuse = Fuse(burns_at)
    pool = await create_pool(dsn, schema=schema)
    client = await nats.connect(nats_url)
    for number in range(EVENTS):
        try:
            await _change(pool, fuse, rolls_back=number == EVENTS - 1)
        except ZeroDivisionError:
            continue
    jetstream: Any = Fused(client.jetstream(), fuse, ("publish",))
    fused: Any = FusedPool(pool, fuse, ())
    await relay(fused, jetstream).flush()
    await client.close()
    await pool.close()


async def _change(pool: Any, fuse: Fuse, *, rolls_back: bool) -> None:
    thing = uuid4()
    fuse.burn()
    async with transaction(pool) as conn:
        fuse.burn()
        await conn.execute("INSERT INTO things (id) VALUES ($1)", thing)
        fuse.burn()
        await put_event(conn, ExportCancelledV1(job_id=thing), subject_id=thing, source="test", sequence=1)
        fuse.burn()
        if rolls_back:
            raise ZeroDivisionError
    fuse.burn()


def main(dsn: str, schema: str, nats_url: str, relay: type[Relay], burns_at: int) -> None:
    """Entry of the process."""
    asyncio.run(work(dsn, schema, nats_url, relay, burns_at))
