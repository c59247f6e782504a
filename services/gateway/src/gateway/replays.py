"""A dead letter tried again, each kind in the way that can help: a job, a deployment, or the message itself."""

import logging
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import open_body
from contracts.errors import Permanent
from contracts.events import DeploymentRequestedV1, Event, ExportRequestedV1, ModelExportedV1
from contracts.subjects import EVENTS, base_subject
from gateway import export_job, losses, resources
from gateway.deployment import Command
from gateway.deployment_requests import change_deployment
from gateway.parts import SERVICE, Parts
from gateway.store import deployments, jobs
from gateway.store.overdue import KnownAttempt
from servicekit import dead_letters
from servicekit.outbox import put_event
from servicekit.postgres import Connection

_log = logging.getLogger(__name__)


class Action(StrEnum):
    """What a replay has done."""

    JOB_REQUESTED = "job_requested"
    DEPLOYMENT_REQUESTED = "deployment_requested"
    MESSAGE_DELIVERED = "message_delivered"


class Replayed(Struct, frozen=True, kw_only=True):
    """What became of a dead letter, and the job or deployment that it is about."""

    sequence: int
    action: Action
    subject: str
    job_id: UUID | None = None
    deployment_id: UUID | None = None


async def replay(conn: Connection, parts: Parts, sequence: int) -> Replayed:
    """Try again what the dead letter stands for; the caller removes it once the transaction is committed.

    Raises Permanent: not_found (the letter, its job or deployment), conflict where that is not failed any more,
    undecodable_event where the message can never be handled; Transient while the bus does not answer.
    """
    kept = await dead_letters.find(parts.bus.jetstream, sequence)
    letter = kept.letter
    event = _decoded(letter.subject, kept.body)
    told = Replayed(sequence=sequence, action=Action.MESSAGE_DELIVERED, subject=letter.subject)
    is_ours = letter.consumer.startswith(f"{SERVICE}-")
    if isinstance(event, ExportRequestedV1 | ModelExportedV1) and not is_ours:
        await request_job(conn, parts, event.job_id)
        return replace(told, action=Action.JOB_REQUESTED, job_id=event.job_id)
    if isinstance(event, DeploymentRequestedV1) and not is_ours:
        await _request_deployment(conn, event)
        return replace(told, action=Action.DEPLOYMENT_REQUESTED, deployment_id=event.deployment_id)
    await dead_letters.redeliver(parts.bus.jetstream, kept)
    return told


async def request_job(conn: Connection, parts: Parts, job_id: UUID) -> None:
    """Open a failed job again and ask the workers for a new attempt, with all its tries."""
    row = await jobs.lock(conn, job_id)
    if row is None:
        raise Permanent("not_found", f"There is no export {job_id} any more.")
    after = export_job.reopen(row.state)
    await losses.release(parts, [KnownAttempt(id=job_id, attempt=row.state.attempt)])
    await jobs.save(conn, job_id, after)
    request, number = await jobs.request_again(conn, job_id)
    await jobs.append_event(conn, job_id, "requested", resources.progress(replace(row, state=after)))
    await put_event(conn, request, subject_id=job_id, source=SERVICE, sequence=number)
    _log.warning("export %s is requested again by an administrator", job_id)


async def _request_deployment(conn: Connection, event: DeploymentRequestedV1) -> None:
    row = await deployments.lock(conn, event.deployment_id)
    if row is None or row.is_deleted:
        raise Permanent("not_found", f"There is no deployment {event.deployment_id} any more.")
    if row.state.generation != event.generation:
        raise Permanent("conflict", "Something else was asked of the deployment since; its newest request counts.")
    await change_deployment(conn, row.user_id, row.id, Command.REACTIVATE)


def _decoded(subject: str, body: bytes) -> Event:
    """Permanent("undecodable_event") where no consumer could ever read it."""
    for kind in EVENTS:
        if subject == base_subject(kind) or subject.startswith(f"{base_subject(kind)}."):
            return open_body(kind, body)
    raise Permanent("undecodable_event", f"Nothing here listens to {subject}.")
