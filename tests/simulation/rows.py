"""What `gateway.store` does in SQL, done to the tables in memory; `STAND_INS` names what replaces what."""

from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

from msgspec.structs import replace as with_fields

from contracts.vocabulary import ExportRoute, ExportStatus, Tier
from gateway.deployment import DeploymentState
from gateway.export_job import OPEN, JobState
from gateway.queue import Waiting
from gateway.store import accounts, deployments, idempotency, jobs, overdue, queue, trainings
from gateway.store.deployments import DeploymentRow, Packages, Served
from gateway.store.jobs import JobRow, NewJob, RefusedJob
from gateway.store.queue import Line
from gateway.store.trainings import TrainingJob
from servicekit import inbox

from . import overdue_rows
from .tables import Connection, Deployment, Job, moment, now

ALLOWED = 2
"""Exports of one user at a time: fewer than the story has."""


async def insert_job(conn: Connection, new: NewJob) -> JobRow:
    request = new.request
    row = JobRow(
        **_empty(request.job_id, conn.state.trainings[request.training_job_id], request.version),
        export_format=request.export_format,
        route=request.export_route,
        version_tag=new.version_tag,
        traceparent=new.traceparent,
        state=JobState(),
    )
    conn.state.jobs[row.id] = Job(row=row, request=request, created_at=now(), requested_at=now(), heard_at=now())
    return row


async def insert_refused(conn: Connection, training: TrainingJob, new: RefusedJob) -> JobRow:
    state = JobState(status=ExportStatus.FAILED, error=new.error, message=new.error.message)
    row = JobRow(
        **_empty(new.id, training, new.version),
        export_format=new.wish.export_format,
        route=ExportRoute(str(new.wish.export_format)),
        version_tag=None,
        traceparent="",
        state=state,
    )
    conn.state.jobs[row.id] = Job(row=row, request=None, created_at=now(), requested_at=now(), heard_at=now())
    return row


def _empty(job_id: UUID, training: TrainingJob, version: int) -> dict[str, Any]:
    unset = ("trace_id", "k8s_job_name", "process_id", "started_at", "completed_at", "validation_metrics")
    configs = ("export_config", "optimization_config", "validation_config")
    return {
        **dict.fromkeys((*unset, *configs)),
        "id": job_id,
        "user_id": training.user_id,
        "training_job_id": training.id,
        "version": version,
        "is_default": False,
        "framework": training.framework,
        "task_type": training.task_type,
        "checkpoint_path": training.checkpoint_path,
        "requests": 1,
        "created_at": moment(),
        "updated_at": moment(),
    }


async def lock_job(conn: Connection, job_id: UUID) -> JobRow | None:
    found = conn.state.jobs.get(job_id)
    return found.row if found else None


async def get_job(conn: Connection, user_id: UUID, job_id: UUID) -> JobRow | None:
    row = await lock_job(conn, job_id)
    return row if row is not None and row.user_id == user_id else None


async def save_job(conn: Connection, job_id: UUID, state: JobState) -> None:
    job = conn.state.jobs[job_id]
    began = now() if state.attempt > job.row.state.attempt else job.attempt_started_at
    row = with_fields(job.row, state=state)
    conn.state.jobs[job_id] = replace(job, row=row, heard_at=now(), attempt_started_at=began)


async def touch(conn: Connection, job_id: UUID) -> None:
    conn.state.jobs[job_id] = replace(conn.state.jobs[job_id], heard_at=now())


async def set_default(conn: Connection, training_id: UUID, job_id: UUID) -> None:
    for job in list(conn.state.jobs.values()):
        if job.row.training_job_id == training_id:
            conn.state.jobs[job.row.id] = replace(job, row=with_fields(job.row, is_default=job.row.id == job_id))


async def has_default(conn: Connection, training_id: UUID) -> bool:
    return any(job.row.is_default for job in conn.state.jobs.values() if job.row.training_job_id == training_id)


async def count_open(conn: Connection, user_id: UUID) -> int:
    return sum(job.row.user_id == user_id and job.row.state.status in OPEN for job in conn.state.jobs.values())


async def count_this_month(conn: Connection, user_id: UUID) -> int:
    return sum(job.row.user_id == user_id for job in conn.state.jobs.values())


async def append_event(conn: Connection, job_id: UUID, name: str, _: object) -> None:
    job = conn.state.jobs[job_id]
    conn.state.jobs[job_id] = replace(job, events=(*job.events, name))


async def insert_training(conn: Connection, training: TrainingJob) -> bool:
    is_new = training.id not in conn.state.trainings
    conn.state.trainings.setdefault(training.id, training)
    return is_new


async def get_training(conn: Connection, user_id: UUID, training_id: UUID) -> TrainingJob | None:
    found = conn.state.trainings.get(training_id)
    return found if found is not None and found.user_id == user_id else None


async def nothing(*_: object, **__: object) -> None:
    return None


async def next_version(conn: Connection, training_id: UUID) -> int:
    conn.state.last_version[training_id] = version = conn.state.last_version.get(training_id, 0) + 1
    return version


async def user(conn: Connection, user_id: UUID) -> accounts.UserRow | None:
    return conn.state.users.get(user_id)


async def insert_deployment(conn: Connection, row: DeploymentRow) -> None:
    conn.state.deployments[row.id] = Deployment(row=row, requested_at=now(), asked_at=now())


async def lock_deployment(conn: Connection, deployment_id: UUID) -> DeploymentRow | None:
    found = conn.state.deployments.get(deployment_id)
    return found.row if found else None


async def save_deployment(conn: Connection, deployment_id: UUID, state: DeploymentState) -> None:
    known = conn.state.deployments[deployment_id]
    asked = now() if state.generation > known.row.state.generation else known.asked_at
    requested = now() if state.generation > known.row.state.generation else known.requested_at
    requests = 1 if state.generation > known.row.state.generation else known.row.requests
    row = with_fields(known.row, state=state, requests=requests)
    conn.state.deployments[deployment_id] = Deployment(row=row, requested_at=requested, asked_at=asked)


async def set_key(conn: Connection, deployment_id: UUID, digest: str, shown: str) -> None:
    known = conn.state.deployments[deployment_id]
    row = with_fields(known.row, key_digest=digest, key_shown=shown)
    conn.state.deployments[deployment_id] = replace(known, row=row)


async def served(conn: Connection, row: DeploymentRow) -> Served:
    job = conn.state.jobs[row.export_job_id].row
    state = job.state
    assert state.model is not None
    assert state.package is not None
    assert state.metadata is not None
    return Served(
        export_format=job.export_format,
        version=job.version,
        model=state.model,
        package=state.package,
        metadata=state.metadata,
        tier=Tier.ENTERPRISE,
    )


async def served_instances(*_: object, **__: object) -> int:
    return 0


async def packages(*_: object, **__: object) -> Packages:
    return Packages(kept=0, building=0)


async def record_use(conn: Connection, fact: Any) -> None:
    known = conn.state.deployments[fact.deployment_id]
    row = with_fields(known.row, request_count=known.row.request_count + fact.requests)
    conn.state.deployments[fact.deployment_id] = replace(known, row=row)


async def line(conn: Connection, ahead: int) -> Line:
    asked: Counter[tuple[ExportRoute, UUID]] = Counter()
    places: Counter[UUID] = Counter()
    waiting = []
    for job in conn.state.jobs.values():
        row = job.row
        if row.state.status not in OPEN:
            continue
        if job.released_at is not None:
            asked[(row.route, row.user_id)] += 1
        elif (place := places[row.user_id] + 1) <= ahead:
            places[row.user_id] = place
            one = Waiting(id=row.id, user_id=row.user_id, route=row.route, allowed=ALLOWED, place=place)
            waiting.append(one)
    return Line(waiting=waiting, asked=dict(asked))


async def release(conn: Connection, job_id: UUID) -> overdue.DueRequest | None:
    job = conn.state.jobs[job_id]
    assert job.request is not None
    conn.state.jobs[job_id] = replace(job, released_at=now(), requested_at=now())
    return overdue.DueRequest(request=job.request, requests=job.row.requests, traceparent=job.row.traceparent)


STAND_INS: dict[Any, dict[str, Any]] = {
    jobs: {
        "insert": insert_job,
        "insert_refused": insert_refused,
        "lock": lock_job,
        "get": get_job,
        "save": save_job,
        "touch": touch,
        "set_default": set_default,
        "has_default": has_default,
        "count_open": count_open,
        "count_this_month": count_this_month,
        "append_event": append_event,
        "prune_progress": nothing,
    },
    trainings: {"insert": insert_training, "get": get_training, "lock": nothing, "next_version": next_version},
    accounts: {"user": user, "lock_user": user},
    deployments: {
        "insert": insert_deployment,
        "lock": lock_deployment,
        "save": save_deployment,
        "set_key": set_key,
        "served": served,
        "served_instances": served_instances,
        "packages": packages,
        "record_use": record_use,
        "add_history": nothing,
    },
    overdue: overdue_rows.STAND_INS,
    queue: {"line": line, "release": release},
    idempotency: {"prune": nothing},
    inbox: {"prune": nothing},
}
