"""The transactional outbox: events are stored with the change they speak of and relayed to JetStream afterwards.

The relay publishes inside its own transaction on purpose: a crash between the ack and the commit publishes the same
`Nats-Msg-Id` again, which the server drops inside its window and every consumer's inbox drops later.
"""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

import asyncpg
import nats.errors
from nats.js import JetStreamContext

from contracts import envelope
from contracts.errors import Permanent
from contracts.events import Event
from contracts.subjects import stream_of
from servicekit.delivery import choose_id
from servicekit.postgres import UNREACHABLE, Connection, Pool, listens
from servicekit.telemetry import inject

POLL_S = 1.0
BATCH = 200
MAX_BYTES = 7_900_000
"""Of a body; with its headers it stays below the 8 MB that the bus is set to take."""
ACK_TIMEOUT_S = 5.0
_RETRY_S = 0.5

TABLE_SQL = """
CREATE TABLE IF NOT EXISTS outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL UNIQUE,
    subject text NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""
_PUT = """
WITH added AS (
    INSERT INTO outbox (event_id, subject, headers, body) VALUES ($1, $2, $3, $4)
    ON CONFLICT (event_id) DO NOTHING RETURNING 1
)
SELECT pg_notify(current_schema() || '_outbox', '') FROM added
"""
_TAKE = "SELECT id, event_id, subject, headers, body FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"

_log = logging.getLogger(__name__)


async def put(conn: Connection, subject: str, event_id: str, headers: dict[str, str], body: bytes) -> None:
    """Store one message in the caller's transaction; an id that still waits in the outbox is stored once.

    Raises Permanent("payload_too_large") for what the bus would never take: it would wait for ever, before everything else.
    """
    if len(body) > MAX_BYTES:
        raise Permanent("payload_too_large", f"An event of {len(body)} bytes is too large, {MAX_BYTES} are allowed.")
    await conn.execute(_PUT, event_id, subject, headers, body)


async def put_event(
    conn: Connection,
    event: Event,
    *,
    subject_id: UUID | str,
    source: str,
    event_id: str | None = None,
    sequence: int | str | None = None,
    traceparent: str = "",
) -> str:
    """Store an event in the trace of `traceparent`, else the running one; its id is `event_id`, or derived from `sequence`, or random."""
    trace_headers = {"traceparent": traceparent} if traceparent else {}
    if not traceparent:
        inject(trace_headers)
    sealed = envelope.seal(
        event,
        event_id=choose_id(event, subject_id, event_id, sequence),
        source=source,
        subject_id=subject_id,
        trace_headers=trace_headers,
    )
    await put(conn, sealed.nats_subject, sealed.event_id, sealed.headers, sealed.body)
    return sealed.event_id


class Relay:
    """Moves the outbox to JetStream; any number of replicas may run."""

    def __init__(self, pool: Pool, jetstream: JetStreamContext) -> None:
        self._pool = pool
        self._jetstream = jetstream
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Relay until cancelled or the pool is closed, through restarts of PostgreSQL and NATS."""
        while not self._pool.is_closing():
            try:
                await self._listen_and_drain()
            except (*UNREACHABLE, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("outbox: PostgreSQL is away: %s: %s", type(error).__name__, error)
            await asyncio.sleep(_RETRY_S)

    async def _listen_and_drain(self) -> None:
        """Returns when the listening connection is lost."""
        async with self._pool.acquire(timeout=10) as listener:
            channel = f"{await listener.fetchval('SELECT current_schema()')}_outbox"
            await listener.add_listener(channel, self._on_notify)
            try:
                while not listener.is_closed():
                    await self._drain()
                    try:
                        await asyncio.wait_for(self._wake.wait(), POLL_S)
                    except TimeoutError:
                        await listens(listener)
            finally:
                with suppress(asyncpg.InterfaceError):
                    await listener.remove_listener(channel, self._on_notify)

    async def _drain(self) -> None:
        self._wake.clear()
        while await self.flush() == BATCH:
            pass

    def _on_notify(self, *_: object) -> None:
        self._wake.set()

    async def flush(self) -> int:
        """Relay one batch in order of their writing; how many messages JetStream has acknowledged."""
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            rows = await connection.fetch(_TAKE, BATCH)
            results = await asyncio.gather(*(self._publish(row) for row in rows))
            done = [row["id"] for row, is_done in zip(rows, results, strict=True) if is_done]
            if done:
                await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", done)
        return len(done)

    async def _publish(self, row: asyncpg.Record) -> bool:
        try:
            await self._jetstream.publish(
                row["subject"],
                row["body"],
                headers=row["headers"],
                stream=stream_of(row["subject"]),
                timeout=ACK_TIMEOUT_S,
            )
        except (nats.errors.Error, OSError) as error:
            _log.warning("outbox: %s on %s waits: %s", row["event_id"], row["subject"], error or type(error).__name__)
            return False
        return True
