"""Preflights: what was asked, what a worker has answered, and how long such exports took."""

from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct, convert

from contracts.errors import ErrorInfo
from contracts.events import PreflightAnsweredV1
from contracts.export_options import ExportOptions
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Framework
from gateway.store.jobs import CHANNEL
from servicekit.inbox import PRUNE_S
from servicekit.postgres import Connection, Pool

BATCH = 100
NEWEST = 50
CROWD = 5
"""So many users must have exported models of a name before others learn how long that took: fewer could be recognised."""


class PreflightRow(Struct, frozen=True, kw_only=True):
    """`wishes` went to the workers, `refused` did not; `forecasts` or `error` is there once `answered_at` is."""

    id: UUID
    user_id: UUID
    training_job_id: UUID
    framework: Framework
    wishes: list[ExportOptions]
    refused: list[Forecast]
    seconds: dict[ExportFormat, float]
    forecasts: list[Forecast] | None = None
    error: ErrorInfo | None = None
    cached: bool = False
    duration_s: float = 0.0
    created_at: datetime
    answered_at: datetime | None = None


_SELECT = (
    "SELECT p.id, p.user_id, p.training_job_id, t.framework, p.wishes, p.refused, p.seconds, p.forecasts, p.error, "
    "p.cached, p.duration_s, p.created_at, p.answered_at "
    "FROM preflights p JOIN training_jobs t ON t.id = p.training_job_id"
)
_SECONDS = """
SELECT export_format, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median FROM (
    SELECT j.export_format, j.user_id, EXTRACT(EPOCH FROM j.completed_at - COALESCE(j.released_at, j.created_at)) AS seconds,
        row_number() OVER (PARTITION BY j.export_format ORDER BY j.completed_at DESC) AS place
    FROM export_jobs j JOIN training_jobs t ON t.id = j.training_job_id
    WHERE t.framework = $1 AND t.model_name = $2 AND j.status = 'completed' AND ($3::uuid IS NULL OR j.user_id = $3)
) done WHERE place <= $5 GROUP BY export_format HAVING count(DISTINCT user_id) >= $4
"""


async def insert(conn: Connection, row: PreflightRow) -> None:
    await conn.execute(
        "INSERT INTO preflights (id, user_id, training_job_id, wishes, refused, seconds, created_at, answered_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.id,
        row.user_id,
        row.training_job_id,
        row.wishes,
        row.refused,
        row.seconds,
        row.created_at,
        row.answered_at,
    )


async def get(conn: Connection | Pool, user_id: UUID, preflight_id: UUID) -> PreflightRow | None:
    record: asyncpg.Record | None = await conn.fetchrow(
        f"{_SELECT} WHERE p.id = $1 AND p.user_id = $2", preflight_id, user_id
    )
    return None if record is None else convert(dict(record), PreflightRow)


async def count_open(conn: Connection, user_id: UUID) -> int:
    sql = "SELECT count(*) FROM preflights WHERE user_id = $1 AND answered_at IS NULL"
    return int(await conn.fetchval(sql, user_id))


async def answer(conn: Connection, fact: PreflightAnsweredV1) -> bool:
    """Write a worker's answer and wake whoever waits for it; False where it is answered already, or not the user's."""
    status = await conn.execute(
        "UPDATE preflights SET forecasts = $3, error = $4, cached = $5, duration_s = $6, answered_at = now() "
        "WHERE id = $1 AND user_id = $2 AND answered_at IS NULL",
        fact.preflight_id,
        fact.user_id,
        None if fact.error else fact.forecasts,
        fact.error,
        fact.cached,
        fact.duration_s,
    )
    await _wake(conn, fact.preflight_id)
    return status == "UPDATE 1"


async def expire(conn: Connection, limit_s: float, error: ErrorInfo) -> list[UUID]:
    """Answer with an error what no worker has answered for so long."""
    records = await conn.fetch(
        "UPDATE preflights SET error = $2, answered_at = now() WHERE id IN ("
        " SELECT id FROM preflights WHERE answered_at IS NULL AND created_at < now() - make_interval(secs => $1)"
        " ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        limit_s,
        error,
        BATCH,
    )
    for record in records:
        await _wake(conn, record["id"])
    return [record["id"] for record in records]


async def prune(conn: Connection, max_age_s: float) -> None:
    """Forget what was foreseen long ago: toolchains have changed since."""
    sql = "DELETE FROM preflights WHERE created_at < now() - make_interval(secs => $1)"
    await conn.execute(sql, max_age_s, timeout=PRUNE_S)


async def seconds(conn: Connection, user_id: UUID, framework: Framework, model_name: str) -> dict[ExportFormat, float]:
    """By format the median of the last exports of such models: the user's own, else those of at least CROWD users together."""
    crowd = await conn.fetch(_SECONDS, framework, model_name, None, CROWD, NEWEST)
    own = await conn.fetch(_SECONDS, framework, model_name, user_id, 1, NEWEST)
    return {ExportFormat(row["export_format"]): round(float(row["median"]), 3) for row in (*crowd, *own)}


async def _wake(conn: Connection, preflight_id: UUID) -> None:
    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, str(preflight_id))
