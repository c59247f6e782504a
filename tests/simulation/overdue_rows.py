"""What `gateway.store.overdue` does in SQL, done to the tables in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace as with_fields

from contracts.vocabulary import DeploymentStatus, DeploymentType, DesiredState, ExportStatus
from gateway.export_job import OPEN
from gateway.store import overdue

from .tables import Connection, Job, now


async def due_jobs(conn: Connection, after_s: float) -> list[overdue.DueRequest]:
    found = []
    for job in list(conn.state.jobs.values()):
        wait = after_s * 2 ** min(job.row.requests - 1, overdue.MAX_DOUBLINGS)
        is_asked = job.row.state.status is ExportStatus.PENDING and job.released_at is not None
        if is_asked and job.requested_at < now() - wait and job.request:
            row = with_fields(job.row, requests=job.row.requests + 1)
            conn.state.jobs[row.id] = replace(job, row=row, requested_at=now())
            found.append(overdue.DueRequest(request=job.request, requests=row.requests, traceparent=""))
    return found


async def expired_jobs(conn: Connection, limits: overdue.Limits) -> list[UUID]:
    return [job.row.id for job in conn.state.jobs.values() if _is_expired(job, limits)]


def _is_expired(job: Job, limits: overdue.Limits) -> bool:
    match job.row.state.status:
        case ExportStatus.PENDING if job.released_at is not None:
            return max(job.released_at, job.heard_at) < now() - limits.pending_s
        case ExportStatus.RUNNING if job.request is not None:
            is_silent = job.heard_at < now() - limits.silence_s
            return is_silent or job.attempt_started_at < now() - job.request.timeout_s - limits.grace_s
        case _:
            return False


async def unanswered_deployments(conn: Connection, limit_s: float) -> list[UUID]:
    return [
        known.row.id
        for known in conn.state.deployments.values()
        if known.row.state.status in (DeploymentStatus.PENDING, DeploymentStatus.DEPLOYING)
        and known.row.state.observed_generation < known.row.state.generation
        and known.asked_at < now() - limit_s
    ]


async def due_deployments(conn: Connection, after_s: float) -> list[UUID]:
    found = []
    for known in list(conn.state.deployments.values()):
        row, wait = known.row, after_s * 2 ** min(known.row.requests - 1, overdue.MAX_DOUBLINGS)
        if row.state.observed_generation < row.state.generation and known.requested_at < now() - wait:
            after = with_fields(row, requests=row.requests + 1)
            conn.state.deployments[row.id] = replace(known, row=after, requested_at=now())
            found.append(row.id)
    return found


async def remember_stream(conn: Connection, name: str, created_at: datetime) -> bool:
    known = conn.state.streams.get(name)
    conn.state.streams[name] = created_at
    return known is not None and known != created_at


async def forget_inbox(conn: Connection, consumers: Sequence[str]) -> None:
    conn.state.inbox = {key: None for key in conn.state.inbox if key[0] not in consumers}


async def forget_running(conn: Connection) -> list[overdue.KnownAttempt]:
    found = [job for job in conn.state.jobs.values() if job.row.state.status in OPEN]
    for job in found:
        state = with_fields(job.row.state, status=ExportStatus.PENDING, stage=None, progress_percent=0.0)
        conn.state.jobs[job.row.id] = replace(job, row=with_fields(job.row, state=state), requested_at=-1e9)
    return [overdue.KnownAttempt(id=job.row.id, attempt=job.row.state.attempt) for job in found]


async def ended_attempts(conn: Connection, _: object, after: UUID) -> list[overdue.KnownAttempt]:
    ended = [job.row for job in conn.state.jobs.values() if job.row.state.is_terminal and job.row.id > after]
    return [overdue.KnownAttempt(id=row.id, attempt=row.state.attempt) for row in sorted(ended, key=lambda row: row.id)]


async def forget_observed(conn: Connection) -> None:
    for known in list(conn.state.deployments.values()):
        state = known.row.state
        is_wanted = state.desired is not DesiredState.DELETED or state.observed_generation < state.generation
        if known.row.deployment_type is not DeploymentType.DOWNLOAD and is_wanted:
            row = with_fields(known.row, state=with_fields(state, observed_generation=0))
            conn.state.deployments[row.id] = replace(known, row=row, requested_at=-1e9)


async def unbuilt_packages(_: Connection) -> list[overdue.KnownGeneration]:
    return []


STAND_INS: dict[str, Any] = {
    double.__name__: double
    for double in (
        due_jobs,
        expired_jobs,
        due_deployments,
        unanswered_deployments,
        remember_stream,
        forget_inbox,
        forget_running,
        ended_attempts,
        forget_observed,
        unbuilt_packages,
    )
}
