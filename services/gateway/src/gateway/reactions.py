"""Facts from the bus, each folded once: the inbox row and the effect are one transaction."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import to_builtins
from msgspec.structs import replace

from contracts.envelope import EventMeta
from contracts.errors import Permanent
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
    DeploymentScaledV1,
    Event,
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    InferenceRecordedV1,
    ModelExportedV1,
    PackageBuiltV1,
    PreflightAnsweredV1,
    TrainingCompletedV1,
)
from contracts.vocabulary import ExportStatus
from gateway import deployment, export_job, resources
from gateway.parts import Parts
from gateway.requests import NewTraining, checkpoint_key, register_training, release_exports, start_export
from gateway.store import accounts, deployments, jobs, preflights, trainings
from servicekit.inbox import first_time
from servicekit.postgres import Connection, transaction

E = TypeVar("E", bound=Event)
Effect = Callable[[Connection, Parts, E], Awaitable[None]]

MAX_DELIVER = 500
"""Facts are worth waiting for: a database that is away for hours loses none; what cannot be handled is Permanent at once."""

JOB_EVENTS: dict[type[export_job.Fact], jobs.EventName] = {
    ExportProgressedV1: "progressed",
    ModelExportedV1: "exported",
    PackageBuiltV1: "completed",
    ExportFailedV1: "failed",
    ExportCancelledV1: "cancelled",
}
HISTORY: dict[type[deployment.Fact], str] = {
    DeploymentActivatedV1: "deployed",
    DeploymentScaledV1: "scaled",
    DeploymentFailedV1: "failed",
}

SILENT: tuple[type[deployment.Fact], ...] = (DeploymentRequestedV1, DeploymentProgressedV1, DeploymentDeactivatedV1)
"""Facts of deployments that are no line of their history."""

FACTS: tuple[type[Event], ...] = (*JOB_EVENTS, *HISTORY, *SILENT)
"""What is folded into jobs and deployments."""

_log = logging.getLogger(__name__)


def subscribe(parts: Parts) -> None:
    """Register every reaction; call it before the bus starts."""
    for job_fact in JOB_EVENTS:
        _react(parts, job_fact, fold_job)
    for deployment_fact in (*HISTORY, *SILENT):
        _react(parts, deployment_fact, fold_deployment)
    _react(parts, PreflightAnsweredV1, fold_preflight)
    _react(parts, InferenceRecordedV1, on_usage_recorded)

    async def on_training(event: TrainingCompletedV1, _: EventMeta) -> None:
        await on_training_completed(parts, event)

    name = durable(TrainingCompletedV1)
    parts.bus.subscribe(TrainingCompletedV1, handler=on_training, durable=name, max_deliver=MAX_DELIVER)


def durable(event_type: type[E]) -> str:
    """Name of the durable consumer, and of the inbox."""
    return f"gateway-{event_type.__struct_config__.tag}".replace(".", "-")


def _react(parts: Parts, event_type: type[E], effect: Effect[E]) -> None:
    name = durable(event_type)

    async def handle(event: E, meta: EventMeta) -> None:
        async with transaction(parts.pool) as conn:
            if await first_time(conn, name, meta.id):
                await effect(conn, parts, event)

    parts.bus.subscribe(event_type, handler=handle, durable=name, max_deliver=MAX_DELIVER)


async def fold_job(conn: Connection, parts: Parts, fact: export_job.Fact) -> None:
    """A fact about an export: the row, its event for browsers and, for a first success, the training's default."""
    row = await jobs.lock(conn, fact.job_id)
    if row is None:
        _log.warning("%s speaks of export %s, which is not known here", type(fact).__name__, fact.job_id)
        return
    after = export_job.apply(row.state, fact)
    if after is row.state:
        if export_job.is_current(row.state, fact):
            await jobs.touch(conn, row.id)
        return
    await jobs.save(conn, row.id, after)
    if after.status is ExportStatus.COMPLETED:
        await trainings.lock(conn, row.training_job_id)
        if not await jobs.has_default(conn, row.training_job_id):
            await jobs.set_default(conn, row.training_job_id, row.id)
    await append(conn, row, after, JOB_EVENTS[type(fact)])
    if after.is_terminal:
        await release_exports(conn, parts.settings.exports_ahead)


async def append(conn: Connection, row: jobs.JobRow, state: export_job.JobState, name: jobs.EventName) -> None:
    """Tell whoever follows the job what it has become."""
    await jobs.append_event(conn, row.id, name, resources.progress(replace(row, state=state)))


async def fold_deployment(conn: Connection, _: Parts, fact: deployment.Fact) -> None:
    """A fact about a deployment: the row and its history."""
    row = await deployments.lock(conn, fact.deployment_id)
    if row is None:
        _log.warning("%s speaks of deployment %s, which is not known here", type(fact).__name__, fact.deployment_id)
        return
    after = deployment.apply(row.state, fact)
    is_changed = after is not row.state
    if is_changed:
        await deployments.save(conn, row.id, after)
    told = HISTORY.get(type(fact))
    is_news = is_changed or isinstance(fact, DeploymentFailedV1)
    if told and is_news and fact.generation == row.state.generation:
        await deployments.add_history(
            conn, row.id, told, before=row.state.status, after=after.status, data=_history_data(fact)
        )


async def fold_preflight(conn: Connection, _: Parts, fact: PreflightAnsweredV1) -> None:
    """The first answer to a preflight counts."""
    if not await preflights.answer(conn, fact):
        _log.info("preflight %s is answered already, or not known here", fact.preflight_id)


async def on_usage_recorded(conn: Connection, _: Parts, fact: InferenceRecordedV1) -> None:
    await deployments.record_use(conn, fact)


async def on_training_completed(parts: Parts, event: TrainingCompletedV1) -> None:
    """What POST /api/v1/training does, for a platform service; the checkpoint is an upload of the user's or the platform's own object.

    The training stands even where its export is refused: then there is a failed job that says why. While as many exports
    are running as the tier allows, the job waits in the database for its turn.

    Raises Permanent, hence a dead letter with the reason: invalid_uri, not_found (the user), conflict.
    """
    checkpoint_key(event.checkpoint_path, parts.settings.s3_bucket, event.user_id)
    async with transaction(parts.pool) as conn:
        if await accounts.user(conn, event.user_id) is None:
            raise Permanent("not_found", f"There is no user {event.user_id}.")
        training = await register_training(conn, _training(event), parts.settings.export_timeout_s)
    if event.export is None:
        return
    async with transaction(parts.pool) as conn:
        if await first_time(conn, durable(TrainingCompletedV1), str(event.training_job_id)):
            await start_export(conn, training, event.export, parts.settings.export_timeout_s)
            await release_exports(conn, parts.settings.exports_ahead)


def _training(event: TrainingCompletedV1) -> NewTraining:
    return NewTraining(
        id=event.training_job_id,
        user_id=event.user_id,
        framework=event.framework,
        task_type=event.task_type,
        model_name=event.model_name,
        checkpoint_path=event.checkpoint_path.rstrip("/"),
        classes=event.classes,
        config=event.config,
        export=None,
    )


def _history_data(fact: deployment.Fact) -> object:
    match fact:
        case DeploymentScaledV1():
            return {"replicas": fact.replicas}
        case DeploymentActivatedV1():
            told = {
                "version": f"v{fact.model_version}",
                "generation": fact.generation,
                "load_seconds": fact.load_seconds,
            }
            return told | ({"package": to_builtins(fact.package)} if fact.package else {})
        case DeploymentFailedV1():
            return {"generation": fact.generation, "error": to_builtins(fact.error)}
        case _:
            return None
