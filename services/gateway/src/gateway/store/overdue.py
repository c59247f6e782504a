"""What the reconciler looks for: requests without an answer, runs out of time, streams that lost their messages."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct, convert

from contracts.events import ExportRequestedV1
from servicekit.postgres import Connection

BATCH = 100
MAX_DOUBLINGS = 6


class DueRequest(Struct, frozen=True, kw_only=True):
    """A job whose request is to be published once more; `requests` counts all publications, this one included."""

    request: ExportRequestedV1
    requests: int
    traceparent: str


class KnownAttempt(Struct, frozen=True, kw_only=True):
    """A job and the newest attempt at it that was heard of."""

    id: UUID
    attempt: int


class KnownGeneration(Struct, frozen=True, kw_only=True):
    """A deployment and what was asked of it last."""

    id: UUID
    generation: int


class Limits(Struct, frozen=True, kw_only=True):
    """When a job is given up, in seconds."""

    pending_s: float
    silence_s: float
    grace_s: float


async def due_jobs(conn: Connection, after_s: float) -> list[DueRequest]:
    """Pending jobs nobody has answered for, marked as requested now; the wait doubles with each publication."""
    records = await conn.fetch(
        "UPDATE export_jobs SET requests = requests + 1, requested_at = now() WHERE id IN ("
        " SELECT id FROM export_jobs WHERE status = 'pending'"
        " AND requested_at < now() - make_interval(secs => $1 * 2 ^ LEAST(requests - 1, $2))"
        " ORDER BY requested_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING request, requests, traceparent",
        after_s,
        MAX_DOUBLINGS,
        BATCH,
    )
    return [convert(dict(record), DueRequest) for record in records]


async def expired_jobs(conn: Connection, limits: Limits) -> list[UUID]:
    """Jobs whose time has run out, each held until the transaction ends; who waits for a turn has time while others get theirs."""
    records = await conn.fetch(
        "SELECT id FROM export_jobs j WHERE (status = 'pending' AND released_at IS NOT NULL"
        "  AND GREATEST(heard_at, released_at) < now() - make_interval(secs => $1))"
        " OR (status = 'pending' AND released_at IS NULL AND created_at < now() - make_interval(secs => $1)"
        "  AND NOT EXISTS (SELECT 1 FROM export_jobs o WHERE COALESCE(o.route, o.export_format) = COALESCE(j.route, j.export_format)"
        "  AND o.started_at > now() - make_interval(secs => $1)))"
        " OR (status = 'running' AND (heard_at < now() - make_interval(secs => $2)"
        " OR attempt_started_at < now() - make_interval(secs => timeout_s + $3)))"
        " ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED",
        limits.pending_s,
        limits.silence_s,
        limits.grace_s,
        BATCH,
    )
    return [record["id"] for record in records]


async def due_deployments(conn: Connection, after_s: float) -> list[UUID]:
    """Deployments whose newest generation nobody has answered, marked as requested now."""
    records = await conn.fetch(
        "UPDATE deployment_targets SET requests = requests + 1, requested_at = now() WHERE id IN ("
        " SELECT id FROM deployment_targets WHERE observed_generation < generation"
        " AND requested_at < now() - make_interval(secs => $1 * 2 ^ LEAST(requests - 1, $2))"
        " ORDER BY requested_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id",
        after_s,
        MAX_DOUBLINGS,
        BATCH,
    )
    return [record["id"] for record in records]


async def unanswered_deployments(conn: Connection, limit_s: float) -> list[UUID]:
    """Deployments that have been deploying for too long, each held until the transaction ends."""
    records = await conn.fetch(
        "SELECT id FROM deployment_targets WHERE status IN ('pending', 'deploying') AND observed_generation < generation"
        " AND asked_at < now() - make_interval(secs => $1) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
        limit_s,
        BATCH,
    )
    return [record["id"] for record in records]


async def remember_stream(conn: Connection, name: str, created_at: datetime) -> bool:
    """True where the stream was known and has been made anew since, hence has lost what it held."""
    known = await conn.fetchval("SELECT created_at FROM streams WHERE name = $1 FOR UPDATE", name)
    if known == created_at:
        return False
    await conn.execute(
        "INSERT INTO streams (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET created_at = $2",
        name,
        created_at,
    )
    return known is not None


async def forget_running(conn: Connection) -> list[KnownAttempt]:
    """After exports or leases were lost: every open job starts again from its request, at once; attempts go on counting."""
    records = await conn.fetch(
        "UPDATE export_jobs SET status = 'pending', stage = NULL, progress_percent = 0, "
        "requested_at = '-infinity', message = 'requested again: the bus has lost its messages' "
        "WHERE status IN ('pending', 'running') RETURNING id, attempt"
    )
    return [convert(dict(record), KnownAttempt) for record in records]


async def ended_attempts(conn: Connection, within: timedelta, after: UUID) -> list[KnownAttempt]:
    """A batch of the jobs, by their ids after `after`, that have ended so recently that the bus may still speak of them."""
    sql = (
        "SELECT id, attempt FROM export_jobs WHERE completed_at > now() - $1::interval AND id > $2 ORDER BY id LIMIT $3"
    )
    return [convert(dict(record), KnownAttempt) for record in await conn.fetch(sql, within, after, BATCH)]


async def forget_inbox(conn: Connection, consumers: list[str]) -> None:
    """What was handled of a lost stream cannot be redelivered, and may be stated anew under the same ids."""
    await conn.execute("DELETE FROM inbox WHERE consumer = ANY($1::text[])", consumers)


async def forget_observed(conn: Connection) -> None:
    """After the stream of deployments was lost: every wish is stated again, so that deployer and proxies learn it.

    Packages that are built stay so: nobody holds them in memory.
    """
    await conn.execute(
        "UPDATE deployment_targets SET requested_at = '-infinity', "
        "observed_generation = CASE deployment_type WHEN 'platform_endpoint' THEN 0 ELSE observed_generation END "
        "WHERE observed_generation < generation OR (deployment_type = 'platform_endpoint' AND deleted_at IS NULL)"
    )


async def unbuilt_packages(conn: Connection) -> list[KnownGeneration]:
    """Edge and container packages whose newest generation nobody has answered."""
    records = await conn.fetch(
        "SELECT id, generation FROM deployment_targets WHERE observed_generation < generation "
        "AND deployment_type IN ('edge_package', 'container')"
    )
    return [convert(dict(record), KnownGeneration) for record in records]
