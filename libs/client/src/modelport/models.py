"""What the gateway and the proxy answer. Unknown fields are tolerated, so that an older client reads a newer server."""

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from contracts.errors import ErrorInfo
from contracts.model_package import ParitySummary, WrapperStatus
from contracts.preflight import Forecast
from contracts.vocabulary import (
    DeploymentStage,
    DeploymentStatus,
    DeploymentType,
    DesiredState,
    ExportFormat,
    ExportStage,
    ExportStatus,
    Framework,
    Proof,
    Scope,
    TaskType,
    Tier,
    WrapperLanguage,
)

T = TypeVar("T")


class Answer(Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Page(Answer, Generic[T], frozen=True, kw_only=True):
    """One page of a list; `next_cursor` is None on the last one."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class UploadTicket(Answer, frozen=True, kw_only=True):
    """Where to PUT a file, and the `uri` by which it is known afterwards."""

    uri: str
    upload_url: str
    headers: dict[str, str] = {}


class TrainingJob(Answer, frozen=True, kw_only=True):
    id: UUID
    framework: Framework
    task_type: TaskType
    model_name: str
    checkpoint_path: str
    classes: list[str] | None = None
    config: dict[str, object] | None = None
    created_at: datetime | None = None


class ExportJob(Answer, frozen=True, kw_only=True):
    """The fields of the design's ExportJob."""

    id: UUID
    training_job_id: UUID
    version: int
    export_format: ExportFormat
    framework: Framework
    task_type: TaskType
    status: ExportStatus
    user_id: UUID | None = None
    version_tag: str | None = None
    is_default: bool = False
    trace_id: str | None = None
    checkpoint_path: str = ""
    export_config: dict[str, object] | None = None
    optimization_config: dict[str, object] | None = None
    validation_config: dict[str, object] | None = None
    stage: ExportStage | None = None
    progress_percent: float = 0.0
    attempt: int = 0
    message: str | None = None
    waits_for: str = ""
    """What a pending job waits for, in words; empty where nothing is amiss."""
    proof: Proof | None = None
    parity: ParitySummary | None = None
    exported_model_path: str | None = None
    export_package_path: str | None = None
    model_size_bytes: int | None = None
    signing_key_id: str | None = None
    """The key that signed the package; empty: it is unsigned; None: there is no package, or the server does not sign."""
    wrappers: dict[WrapperLanguage, WrapperStatus] = {}
    """What was proved about the package's wrapper in each language before it was delivered."""
    optimization_stats: dict[str, object] | None = None
    validation_metrics: dict[str, object] | None = None
    error: ErrorInfo | None = None
    error_message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    heard_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None


class Preflight(Answer, frozen=True, kw_only=True):
    """What would become of a checkpoint, a forecast for each format; until `is_answered` only of what needed no look."""

    preflight_id: UUID
    training_job_id: UUID
    is_answered: bool
    formats: tuple[Forecast, ...]
    error: ErrorInfo | None = None
    cached: bool = False
    duration_s: float = 0.0
    created_at: datetime | None = None
    answered_at: datetime | None = None


class Deployment(Answer, frozen=True, kw_only=True):
    """The fields of the design's DeploymentTarget; `api_key` is there once, in the answer that created the key."""

    id: UUID
    export_job_id: UUID
    deployment_type: DeploymentType
    name: str
    status: DeploymentStatus
    user_id: UUID | None = None
    desired_state: DesiredState | None = None
    description: str | None = None
    stage: DeploymentStage | None = None
    progress_percent: float = 0.0
    message: str = ""
    deployment_config: dict[str, object] | None = None
    endpoint_url: str | None = None
    api_key: str | None = None
    key_prefix: str | None = None
    request_count: int = 0
    last_request_at: datetime | None = None
    total_inference_time_ms: float = 0.0
    error: ErrorInfo | None = None
    created_at: datetime | None = None
    deployed_at: datetime | None = None
    deactivated_at: datetime | None = None
    updated_at: datetime | None = None


class DeploymentState(Answer, frozen=True, kw_only=True):
    """What an event of a deployment's stream says of it."""

    status: DeploymentStatus
    generation: int = 0
    stage: DeploymentStage | None = None
    progress_percent: float = 0.0
    message: str = ""
    error: ErrorInfo | None = None


class DeploymentEvent(Answer, frozen=True, kw_only=True):
    """One line of a deployment's history."""

    event_type: str
    created_at: datetime
    event_data: dict[str, object] | None = None
    status_before: str | None = None
    status_after: str | None = None


class Usage(Answer, frozen=True, kw_only=True):
    """Use of one deployment, and of its owner's month."""

    request_count: int = 0
    error_count: int = 0
    last_request_at: datetime | None = None
    total_inference_time_ms: float = 0.0


class ApiKey(Answer, frozen=True, kw_only=True):
    api_key: str


class Download(Answer, frozen=True, kw_only=True):
    """A link that needs no token until `expires_at`."""

    download_url: str
    expires_at: datetime
    sha256: str = ""
    size_bytes: int | None = None
    filename: str = ""


class User(Answer, frozen=True, kw_only=True):
    """`scopes` are those of the token at hand, told by `me` alone."""

    id: UUID
    name: str
    tier: Tier
    created_at: datetime | None = None
    scopes: tuple[Scope, ...] = ()


class NewUser(Answer, frozen=True, kw_only=True):
    """`token` is shown once."""

    id: UUID
    token: str


class Token(Answer, frozen=True, kw_only=True):
    """`token` is shown once, in the answer that made it; later `prefix` tells which one it is."""

    id: UUID
    prefix: str
    scopes: tuple[Scope, ...]
    name: str = ""
    token: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class DeadLetter(Answer, frozen=True, kw_only=True):
    """A message that a service gave up; `sequence` names it."""

    sequence: int
    consumer: str
    code: str
    reason: str
    subject: str
    event_id: str = ""
    deliveries: int = 0
    failed_at: datetime
    traceparent: str = ""
    body: str = ""


class Replayed(Answer, frozen=True, kw_only=True):
    """What became of a dead letter; `action` is job_requested, deployment_requested or message_delivered."""

    sequence: int
    action: str
    subject: str
    job_id: UUID | None = None
    deployment_id: UUID | None = None


class Span(Answer, frozen=True, kw_only=True):
    """One operation of a trace; `status` is unset, ok or error."""

    span_id: str
    parent_id: str | None = None
    name: str
    service: str
    start: datetime
    duration_ms: float
    status: str = "unset"
    attributes: dict[str, object] = {}


class Trace(Answer, frozen=True, kw_only=True):
    """The spans that are kept of one trace."""

    trace_id: str
    spans: tuple[Span, ...]
