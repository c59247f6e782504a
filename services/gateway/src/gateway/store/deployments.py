"""Deployments, their history and their use."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
from msgspec import Struct, convert

from contracts.deployment import DeploymentConfig
from contracts.events import InferenceRecordedV1
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from contracts.vocabulary import DeploymentType, DesiredState, ExportFormat, Tier
from gateway.deployment import DeploymentState
from gateway.store import pages
from gateway.store.jobs import CHANNEL
from servicekit.postgres import Connection, Pool


class DeploymentRow(Struct, frozen=True, kw_only=True):
    """What was asked for, and when; `state` is what commands and facts have made of it."""

    id: UUID
    export_job_id: UUID
    user_id: UUID
    deployment_type: DeploymentType
    name: str
    description: str | None
    config: DeploymentConfig
    trace_id: UUID | None
    traceparent: str
    key_digest: str | None
    key_shown: str | None
    request_count: int
    error_count: int
    total_inference_time_ms: float
    last_request_at: datetime | None
    requests: int
    created_at: datetime
    deployed_at: datetime | None
    deactivated_at: datetime | None
    updated_at: datetime
    state: DeploymentState

    @property
    def is_deleted(self) -> bool:
        return self.state.desired is DesiredState.DELETED


class Served(Struct, frozen=True, kw_only=True):
    """What a deployment request says of its model and its owner."""

    export_format: ExportFormat
    version: int
    model: ObjectRef
    package: ObjectRef
    metadata: ModelMetadata
    tier: Tier


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One event of a deployment's history, as the design names its fields."""

    id: UUID
    deployment_target_id: UUID
    event_type: str
    event_data: dict[str, object] | None
    status_before: str | None
    status_after: str | None
    created_at: datetime
    created_by_user_id: UUID | None


_ASKED = (
    "id, export_job_id, user_id, deployment_type, name, description, config, trace_id, traceparent, key_digest, key_shown, "
    "request_count, error_count, total_inference_time_ms, last_request_at, requests, created_at, deployed_at, "
    "deactivated_at, updated_at"
)
_STATE = DeploymentState.__struct_fields__
_SELECT = "SELECT :columns FROM deployment_targets".replace(":columns", ", ".join((_ASKED, *_STATE)))
_SAVE = """
UPDATE deployment_targets SET :columns, updated_at = now(),
    deployed_at = CASE WHEN $2 = 'active' AND status <> 'active' THEN now() ELSE deployed_at END,
    deactivated_at =
        CASE WHEN $2 <> 'inactive' THEN NULL WHEN status <> 'inactive' THEN now() ELSE deactivated_at END,
    deleted_at = CASE WHEN $3 = 'deleted' THEN COALESCE(deleted_at, now()) END,
    requests = CASE WHEN $4 > generation THEN 1 ELSE requests END,
    requested_at = CASE WHEN $4 > generation THEN now() ELSE requested_at END,
    asked_at = CASE WHEN $4 > generation THEN now() ELSE asked_at END
WHERE id = $1
""".replace(":columns", ", ".join(f"{name} = ${number}" for number, name in enumerate(_STATE, start=2)))


async def insert(conn: Connection, row: DeploymentRow) -> None:
    await conn.execute(
        "INSERT INTO deployment_targets (id, export_job_id, user_id, deployment_type, name, description, config, trace_id, "
        "traceparent, key_digest, key_shown, created_at, deployed_at, status, desired, generation, observed_generation, "
        "revision, progress_percent) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        row.id,
        row.export_job_id,
        row.user_id,
        row.deployment_type,
        row.name,
        row.description,
        row.config,
        row.trace_id,
        row.traceparent,
        row.key_digest,
        row.key_shown,
        row.created_at,
        row.deployed_at,
        row.state.status,
        row.state.desired,
        row.state.generation,
        row.state.observed_generation,
        row.state.revision,
        row.state.progress_percent,
    )


async def get(conn: Connection | Pool, user_id: UUID, deployment_id: UUID) -> DeploymentRow | None:
    """None also for one that was deleted."""
    sql = f"{_SELECT} WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"
    return _maybe(await conn.fetchrow(sql, deployment_id, user_id))


async def lock(conn: Connection, deployment_id: UUID) -> DeploymentRow | None:
    """The deployment, deleted or not, held until the transaction ends."""
    return _maybe(await conn.fetchrow(f"{_SELECT} WHERE id = $1 FOR UPDATE", deployment_id))


async def lock_endpoints(conn: Connection, user_id: UUID) -> list[DeploymentRow]:
    """All endpoints of a user that are not deleted, held until the transaction ends."""
    sql = (
        f"{_SELECT} WHERE user_id = $1 AND deployment_type = 'platform_endpoint' AND deleted_at IS NULL "
        "ORDER BY id FOR UPDATE"
    )
    return [_read(record) for record in await conn.fetch(sql, user_id)]


async def served_instances(conn: Connection, user_id: UUID, *, but: UUID | None = None) -> int:
    """Model instances of a user's endpoints that are to be active, one of them left out."""
    return int(
        await conn.fetchval(
            "SELECT COALESCE(sum(COALESCE((config->>'instances')::int, 1)), 0) FROM deployment_targets WHERE user_id = $1 "
            "AND deployment_type = 'platform_endpoint' AND desired = 'active' AND id IS DISTINCT FROM $2",
            user_id,
            but,
        )
    )


class Packages(Struct, frozen=True, kw_only=True):
    """How many edge and container packages a user has: all of them, and those that a packager is at."""

    kept: int
    building: int


async def packages(conn: Connection, user_id: UUID, *, but: UUID | None = None) -> Packages:
    """Edge and container packages of a user that are not deleted, one of them left out."""
    (record,) = await conn.fetch(
        "SELECT count(*) AS kept, count(*) FILTER (WHERE status IN ('pending', 'deploying')) AS building "
        "FROM deployment_targets WHERE user_id = $1 AND deployment_type IN ('edge_package', 'container') "
        "AND deleted_at IS NULL AND id IS DISTINCT FROM $2",
        user_id,
        but,
    )
    return convert(dict(record), Packages)


async def save(conn: Connection, deployment_id: UUID, state: DeploymentState) -> None:
    """Write what commands and facts say now, and wake whoever follows; a new generation counts as requested now."""
    await conn.execute(_SAVE, deployment_id, *(getattr(state, name) for name in _STATE))
    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, str(deployment_id))


async def set_key(conn: Connection, deployment_id: UUID, digest: str, shown: str) -> None:
    await conn.execute(
        "UPDATE deployment_targets SET key_digest = $2, key_shown = $3 WHERE id = $1", deployment_id, digest, shown
    )


async def served(conn: Connection | Pool, row: DeploymentRow) -> Served:
    """The model behind a deployment and its owner's tier; only completed exports have deployments."""
    return (await served_by(conn, [row]))[row.id]


async def served_by(conn: Connection | Pool, rows: Sequence[DeploymentRow]) -> dict[UUID, Served]:
    """The same for many deployments in one question, by their ids."""
    if not rows:
        return {}
    records = await conn.fetch(
        "SELECT j.id, j.export_format, j.version, j.model, j.package, j.metadata, u.tier FROM export_jobs j "
        "JOIN users u ON u.id = j.user_id WHERE j.id = ANY($1::uuid[])",
        [row.export_job_id for row in rows],
    )
    found = {record["id"]: convert(dict(record), Served) for record in records}
    return {row.id: found[row.export_job_id] for row in rows}


async def page(conn: Connection | Pool, query: pages.Query) -> pages.Page[DeploymentRow]:
    return await pages.fetch(conn, _SELECT, query, _read, fixed="deleted_at IS NULL")


async def record_use(conn: Connection, fact: InferenceRecordedV1) -> None:
    """Add to the counters; the caller sees to it that a fact is added once."""
    await conn.execute(
        "UPDATE deployment_targets SET request_count = request_count + $2, error_count = error_count + $3, "
        "total_inference_time_ms = total_inference_time_ms + $4, last_request_at = GREATEST(last_request_at, $5) "
        "WHERE id = $1 AND user_id = $6",
        fact.deployment_id,
        fact.requests,
        fact.errors,
        fact.inference_time_ms,
        fact.last_request_at,
        fact.user_id,
    )


async def add_history(
    conn: Connection,
    deployment_id: UUID,
    event_type: str,
    *,
    before: str | None,
    after: str,
    data: object = None,
    by: UUID | None = None,
) -> None:
    """One line of history; `by` is the user whose command it was, None for facts."""
    await conn.execute(
        "INSERT INTO deployment_history (id, deployment_target_id, event_type, event_data, status_before, status_after, "
        "created_by_user_id) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        uuid4(),
        deployment_id,
        event_type,
        data,
        before,
        after,
        by,
    )


async def history(conn: Connection | Pool, deployment_id: UUID) -> list[HistoryEntry]:
    """Oldest first."""
    records = await conn.fetch(
        "SELECT id, deployment_target_id, event_type, event_data, status_before, status_after, created_at, "
        "created_by_user_id FROM deployment_history WHERE deployment_target_id = $1 ORDER BY seq",
        deployment_id,
    )
    return [convert(dict(record), HistoryEntry) for record in records]


def _read(record: asyncpg.Record) -> DeploymentRow:
    values = dict(record)
    return convert({**values, "state": convert(values, DeploymentState)}, DeploymentRow)


def _maybe(record: asyncpg.Record | None) -> DeploymentRow | None:
    return None if record is None else _read(record)
