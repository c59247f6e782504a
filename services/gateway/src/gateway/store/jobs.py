"""Export jobs and the events that browsers follow."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
from msgspec import Struct, convert

from contracts.errors import ErrorInfo
from contracts.events import ExportRequestedV1
from contracts.events.training import ExportWish
from contracts.vocabulary import ExportFormat, ExportRoute, ExportStatus, Framework, TaskType
from gateway.export_job import TERMINAL, JobState
from gateway.store import pages
from gateway.store.trainings import TrainingJob
from servicekit.inbox import PRUNE_S
from servicekit.postgres import Connection, Pool

CHANNEL = "gateway_jobs"
EVENTS_AT_ONCE = 1000
EventName = Literal["requested", "progressed", "exported", "completed", "failed", "cancelled"]


class JobRow(Struct, frozen=True, kw_only=True):
    """What was asked for, and when; `state` is what facts have made of it."""

    id: UUID
    user_id: UUID
    training_job_id: UUID
    version: int
    version_tag: str | None
    is_default: bool
    trace_id: UUID | None
    traceparent: str
    k8s_job_name: str | None
    process_id: int | None
    export_format: ExportFormat
    framework: Framework
    task_type: TaskType
    checkpoint_path: str
    export_config: dict[str, object] | None
    optimization_config: dict[str, object] | None
    validation_config: dict[str, object] | None
    validation_metrics: dict[str, object] | None
    requests: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    heard_at: datetime | None = None
    """When a worker last showed that it is at it."""
    route: ExportRoute
    """The line that it stands in, and what the workers that can make it listen to."""
    state: JobState


class NewJob(Struct, frozen=True, kw_only=True):
    """A job before its first fact; the raw configurations are kept as they were sent."""

    request: ExportRequestedV1
    version_tag: str | None
    trace_id: UUID | None
    traceparent: str
    export_config: dict[str, object] | None
    optimization_config: dict[str, object] | None
    validation_config: dict[str, object] | None


class RefusedJob(Struct, frozen=True, kw_only=True):
    """A job that was never asked of any worker, because what it wishes for is refused."""

    id: UUID
    version: int
    wish: ExportWish
    error: ErrorInfo
    trace_id: UUID | None
    traceparent: str


class JobEvent(Struct, frozen=True, kw_only=True):
    """One line of a job's story; `seq` counts from 1 within the job."""

    seq: int
    name: EventName
    data: dict[str, object]
    created_at: datetime


_ASKED = (
    "id, user_id, training_job_id, version, version_tag, is_default, trace_id, traceparent, k8s_job_name, process_id, "
    "export_format, framework, task_type, checkpoint_path, export_config, optimization_config, validation_config, "
    "validation_metrics, requests, created_at, started_at, completed_at, updated_at, heard_at, "
    "COALESCE(route, export_format) AS route"
)
_STATE = JobState.__struct_fields__
_SELECT = "SELECT :columns FROM export_jobs".replace(":columns", ", ".join((_ASKED, *_STATE)))
_SAVE = """
UPDATE export_jobs SET :columns, updated_at = now(), heard_at = now(),
    attempt_started_at = CASE WHEN $5 > attempt THEN now() ELSE attempt_started_at END,
    started_at = CASE WHEN $2 = 'pending' THEN started_at ELSE COALESCE(started_at, now()) END,
    completed_at = CASE WHEN $2 = ANY($15::text[]) THEN COALESCE(completed_at, now()) END
WHERE id = $1
""".replace(":columns", ", ".join(f"{name} = ${number}" for number, name in enumerate(_STATE, start=2)))


async def insert(conn: Connection, job: NewJob) -> JobRow:
    request = job.request
    await conn.execute(
        "INSERT INTO export_jobs (id, user_id, training_job_id, version, version_tag, trace_id, traceparent, export_format, "
        "framework, task_type, checkpoint_path, export_config, optimization_config, validation_config, request, timeout_s, "
        "route, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'pending')",
        request.job_id,
        request.user_id,
        request.training_job_id,
        request.version,
        job.version_tag,
        job.trace_id,
        job.traceparent,
        request.export_format,
        request.framework,
        request.task_type,
        request.checkpoint_path,
        job.export_config,
        job.optimization_config,
        job.validation_config,
        request,
        request.timeout_s,
        request.export_route,
    )
    return _read(await conn.fetchrow(f"{_SELECT} WHERE id = $1", request.job_id))


async def insert_refused(conn: Connection, training: TrainingJob, job: RefusedJob) -> JobRow:
    """A job that has failed before it began."""
    await conn.execute(
        "INSERT INTO export_jobs (id, user_id, training_job_id, version, version_tag, trace_id, traceparent, export_format, "
        "framework, task_type, checkpoint_path, export_config, optimization_config, validation_config, timeout_s, status, "
        "proof, message, error, completed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, "
        "'failed', 'failed', $15, $16, now())",
        job.id,
        training.user_id,
        training.id,
        job.version,
        job.wish.version_tag,
        job.trace_id,
        job.traceparent,
        job.wish.export_format,
        training.framework,
        training.task_type,
        training.checkpoint_path,
        job.wish.export_config,
        job.wish.optimization_config,
        job.wish.validation_config,
        job.error.message,
        job.error,
    )
    return _read(await conn.fetchrow(f"{_SELECT} WHERE id = $1", job.id))


async def get(conn: Connection | Pool, user_id: UUID, job_id: UUID) -> JobRow | None:
    return _maybe(await conn.fetchrow(f"{_SELECT} WHERE id = $1 AND user_id = $2", job_id, user_id))


async def lock(conn: Connection, job_id: UUID) -> JobRow | None:
    """The job, held until the transaction ends, so that facts are folded one after the other."""
    return _maybe(await conn.fetchrow(f"{_SELECT} WHERE id = $1 FOR UPDATE", job_id))


async def save(conn: Connection, job_id: UUID, state: JobState) -> None:
    """Write what facts say now."""
    values = [getattr(state, name) for name in _STATE]
    await conn.execute(_SAVE, job_id, *values, [str(status) for status in TERMINAL])


async def request_again(conn: Connection, job_id: UUID) -> tuple[ExportRequestedV1, int]:
    """The job's request and its number, counted as published now; whoever follows the job reads on after its failure."""
    await conn.execute("UPDATE job_events SET name = 'progressed' WHERE job_id = $1 AND name = 'failed'", job_id)
    record = await conn.fetchrow(
        "UPDATE export_jobs SET requests = requests + 1, requested_at = now() WHERE id = $1 "
        "RETURNING request, requests",
        job_id,
    )
    if record is None or record["request"] is None:
        raise LookupError("only a job that was asked of workers is asked of them again")
    return convert(record["request"], ExportRequestedV1), int(record["requests"])


async def touch(conn: Connection, job_id: UUID) -> None:
    """Something was heard of the job that changed nothing."""
    await conn.execute("UPDATE export_jobs SET heard_at = now() WHERE id = $1", job_id)


async def set_tag(conn: Connection, job_id: UUID, version_tag: str | None) -> None:
    sql = "UPDATE export_jobs SET version_tag = $2, updated_at = now() WHERE id = $1"
    await conn.execute(sql, job_id, version_tag)


async def set_default(conn: Connection, training_id: UUID, job_id: UUID) -> None:
    """Move the default; the caller holds the training's lock."""
    await conn.execute(
        "UPDATE export_jobs SET is_default = false WHERE training_job_id = $1 AND is_default", training_id
    )
    await conn.execute("UPDATE export_jobs SET is_default = true, updated_at = now() WHERE id = $1", job_id)


async def has_default(conn: Connection, training_id: UUID) -> bool:
    sql = "SELECT EXISTS (SELECT 1 FROM export_jobs WHERE training_job_id = $1 AND is_default)"
    return bool(await conn.fetchval(sql, training_id))


async def count_open(conn: Connection, user_id: UUID) -> int:
    sql = "SELECT count(*) FROM export_jobs WHERE user_id = $1 AND status IN ('pending', 'running')"
    return int(await conn.fetchval(sql, user_id))


async def count_this_month(conn: Connection, user_id: UUID) -> int:
    """Jobs created since the first of the month, UTC."""
    return int(
        await conn.fetchval(
            "SELECT count(*) FROM export_jobs WHERE user_id = $1 "
            "AND created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
            user_id,
        )
    )


async def page(conn: Connection | Pool, query: pages.Query) -> pages.Page[JobRow]:
    return await pages.fetch(conn, _SELECT, query, _read)


async def append_event(conn: Connection, job_id: UUID, name: EventName, data: Struct) -> None:
    """Add a line to the job's story and wake whoever follows it; the caller holds the job's lock."""
    await conn.execute(
        "WITH counted AS (UPDATE export_jobs SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq) "
        "INSERT INTO job_events (job_id, seq, name, data) SELECT $1, event_seq, $2, $3 FROM counted",
        job_id,
        name,
        data,
    )
    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, str(job_id))


async def events_after(conn: Connection | Pool, job_id: UUID, seq: int) -> list[JobEvent]:
    """The next EVENTS_AT_ONCE lines of a job's story; fewer mean that there are no more."""
    sql = "SELECT seq, name, data, created_at FROM job_events WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
    return [convert(dict(record), JobEvent) for record in await conn.fetch(sql, job_id, seq, EVENTS_AT_ONCE)]


async def prune_progress(conn: Connection, max_age_s: float) -> None:
    """Forget how far jobs were on a day long gone; what began and ended them stays."""
    sql = "DELETE FROM job_events WHERE name = 'progressed' AND created_at < now() - make_interval(secs => $1)"
    await conn.execute(sql, max_age_s, timeout=PRUNE_S)


def is_terminal_event(name: EventName) -> bool:
    return name in {ExportStatus.COMPLETED, ExportStatus.FAILED, ExportStatus.CANCELLED}


def _read(record: asyncpg.Record | None) -> JobRow:
    if record is None:
        raise LookupError("the row was written in this very transaction")
    values = dict(record)
    return convert({**values, "state": convert(values, JobState)}, JobRow)


def _maybe(record: asyncpg.Record | None) -> JobRow | None:
    return None if record is None else _read(record)
