"""Streams and subjects of the bus: `<context>.<entity>.<fact>.v<N>[.<routing>]`, never an id in a subject."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
    DeploymentScaledV1,
    DeploymentUpdatedV1,
    Event,
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    ExportRequestedV1,
    InferenceRecordedV1,
    ModelExportedV1,
    PackageBuiltV1,
    PreflightAnsweredV1,
    PreflightRequestedV1,
    TrainingCompletedV1,
)


class Stream(Struct, frozen=True, kw_only=True):
    """One JetStream stream, limits retention, file storage."""

    name: str
    subjects: tuple[str, ...]
    max_age: timedelta | None
    description: str


DEAD_LETTERS = "DEADLETTER"

STREAMS: tuple[Stream, ...] = (
    Stream(
        name="TRAINING",
        subjects=("training.>",),
        max_age=timedelta(days=14),
        description="Facts of the training platform.",
    ),
    Stream(
        name="EXPORT",
        subjects=("export.>",),
        max_age=timedelta(days=14),
        description="Requests and facts of export jobs.",
    ),
    Stream(
        name="DEPLOYMENT",
        subjects=("deployment.>",),
        max_age=None,
        description="Requests and facts of deployments; kept for ever, because proxies rebuild their routes by replaying it.",
    ),
    Stream(
        name="USAGE",
        subjects=("usage.>",),
        max_age=timedelta(days=14),
        description="Facts of use, for counters and billing.",
    ),
    Stream(
        name=DEAD_LETTERS,
        subjects=("deadletter.>",),
        max_age=timedelta(days=90),
        description="Messages that could not be handled, each with its reason.",
    ),
)

# type of event -> how its subject is routed: the attribute whose value is the last token
ROUTED_BY: dict[type[Event], str] = {ExportRequestedV1: "export_route", DeploymentRequestedV1: "deployment_type"}

EVENTS: tuple[type[Event], ...] = (
    TrainingCompletedV1,
    ExportRequestedV1,
    ExportProgressedV1,
    ModelExportedV1,
    PackageBuiltV1,
    ExportFailedV1,
    ExportCancelledV1,
    PreflightRequestedV1,
    PreflightAnsweredV1,
    DeploymentRequestedV1,
    DeploymentProgressedV1,
    DeploymentActivatedV1,
    DeploymentScaledV1,
    DeploymentUpdatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    InferenceRecordedV1,
)

# told too often to be operations of a trace: no span speaks of publishing or handling one
UNTRACED: frozenset[type[Event]] = frozenset({ExportProgressedV1, DeploymentProgressedV1})

# KV buckets beside the streams
LEASES = "leases"
WORKERS = "workers"


def export_lease(job_id: UUID) -> str:
    """Key in LEASES of whoever exports this job: one attempt at a time."""
    return str(job_id)


def package_lease(job_id: UUID) -> str:
    """Key in LEASES of whoever builds this job's package: one per job, whatever attempts at the export there were."""
    return f"package.{job_id}"


def deployment_lease(deployment_id: UUID, generation: int) -> str:
    """Key in LEASES of whoever builds what this generation of a deployment asks for: one packager, however often it is stated."""
    return f"deployment.{deployment_id}.{generation}"


def preflight_lease(preflight_id: UUID) -> str:
    """Key in LEASES of whoever answers this preflight."""
    return f"preflight.{preflight_id}"


def base_subject(event_type: type[Event]) -> str:
    """The subject without routing; it is the struct's tag."""
    return str(event_type.__struct_config__.tag)


def subject(event: Event) -> str:
    """The subject that this event is published on."""
    routed_by = ROUTED_BY.get(type(event))
    return base_subject(type(event)) + (f".{getattr(event, routed_by)}" if routed_by else "")


def filter_subject(event_type: type[Event], routing: str | None = None) -> str:
    """What a consumer of this event listens to; without `routing`, every route."""
    if event_type not in ROUTED_BY:
        return base_subject(event_type)
    return f"{base_subject(event_type)}.{routing or '*'}"


def stream_of(subject: str) -> str:
    """Name of the stream that holds a subject."""
    context = subject.split(".", 1)[0]
    return next(s.name for s in STREAMS if s.subjects[0] == f"{context}.>")


def dead_letter_subject(consumer: str) -> str:
    """Where a durable consumer's unhandled messages go."""
    return f"deadletter.{consumer}"
