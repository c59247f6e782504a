"""Remembers handled events, so that a redelivery has no second effect."""

from datetime import timedelta

from servicekit.postgres import Connection, Pool

KEEP = timedelta(days=30)
PRUNE_S = 300.0
"""What a sweep over a large table may take."""

TABLE_SQL = """
CREATE TABLE IF NOT EXISTS inbox (
    consumer text NOT NULL,
    event_id text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
"""


async def first_time(conn: Connection, consumer: str, event_id: str) -> bool:
    """True for the first sight of an event; call it inside the transaction that carries the effect."""
    status = await conn.execute(
        "INSERT INTO inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", consumer, event_id
    )
    return status == "INSERT 0 1"


async def prune(pool: Pool, keep: timedelta = KEEP) -> int:
    """Forget rows older than `keep`, which must exceed how long a stream can redeliver; the number forgotten."""
    status = await pool.execute("DELETE FROM inbox WHERE received_at < now() - $1::interval", keep, timeout=PRUNE_S)
    return int(status.rsplit(" ", 1)[1])
