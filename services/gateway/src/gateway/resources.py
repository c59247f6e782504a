"""What the API answers; field names are those of the design's models."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct, to_builtins

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
    TaskType,
    WrapperLanguage,
)
from gateway.store.deployments import DeploymentRow, HistoryEntry
from gateway.store.jobs import JobRow
from gateway.store.pages import Page
from gateway.store.trainings import TrainingJob
from servicekit.uris import uri

MIB = 1 << 20
ERROR_MESSAGE_LENGTH = 1000


class ExportJob(Struct, frozen=True, kw_only=True):
    """One export; `error` says in full what `error_message` says in short, `heard_at` when its worker last gave a sign of life.

    `waits_for` says what a pending job waits for, as live workers have announced themselves; empty where nothing is amiss.
    """

    id: UUID
    user_id: UUID
    training_job_id: UUID
    version: int
    version_tag: str | None
    is_default: bool
    trace_id: UUID | None
    k8s_job_name: str | None
    process_id: int | None
    export_format: ExportFormat
    framework: Framework
    task_type: TaskType
    checkpoint_path: str
    export_config: dict[str, object] | None
    optimization_config: dict[str, object] | None
    validation_config: dict[str, object] | None
    status: ExportStatus
    stage: ExportStage | None
    progress_percent: float
    attempt: int
    message: str
    waits_for: str = ""
    worker_id: str
    proof: Proof | None
    parity: ParitySummary | None
    exported_model_path: str | None
    export_package_path: str | None
    model_size_bytes: int | None
    signing_key_id: str | None
    """The key that signed the package; empty: it is unsigned; null: there is no package yet."""
    wrappers: dict[WrapperLanguage, WrapperStatus]
    """What was proved about the package's wrapper in each language; empty: there is no package yet, or nothing was tried."""
    optimization_stats: dict[str, object] | None
    validation_metrics: dict[str, object] | None
    error_message: str | None
    error: ErrorInfo | None
    created_at: datetime
    started_at: datetime | None
    heard_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime


class ExportProgress(Struct, frozen=True, kw_only=True):
    """The data of one event on the stream of a job."""

    job_id: UUID
    status: ExportStatus
    stage: ExportStage | None
    progress_percent: float
    attempt: int
    message: str
    proof: Proof | None
    error: ErrorInfo | None


class Preflight(Struct, frozen=True, kw_only=True):
    """What would become of a training's checkpoint, a forecast for each format; until `is_answered` only of what needs no look.

    `error` says why nothing could be foreseen; `cached`: the same was asked before; `duration_s` is what the look took.
    """

    preflight_id: UUID
    training_job_id: UUID
    is_answered: bool
    formats: list[Forecast]
    error: ErrorInfo | None
    cached: bool
    duration_s: float
    created_at: datetime
    answered_at: datetime | None


class DeploymentTarget(Struct, frozen=True, kw_only=True):
    """One deployment; `api_key` is null but in the answer that made the key.

    `stage`, `progress_percent` and `message` tell how far a package is that is being built.
    """

    id: UUID
    export_job_id: UUID
    user_id: UUID
    deployment_type: DeploymentType
    name: str
    description: str | None
    status: DeploymentStatus
    desired_state: DesiredState
    generation: int
    stage: DeploymentStage | None
    progress_percent: float
    message: str
    deployment_config: dict[str, object]
    endpoint_url: str | None
    api_key: str | None = None
    key_prefix: str | None = None
    trace_id: UUID | None
    request_count: int
    last_request_at: datetime | None
    total_inference_time_ms: float
    error: ErrorInfo | None
    created_at: datetime
    deployed_at: datetime | None
    deactivated_at: datetime | None
    updated_at: datetime


class DeploymentProgress(Struct, frozen=True, kw_only=True):
    """The data of one event on the stream of a deployment."""

    deployment_id: UUID
    generation: int
    status: DeploymentStatus
    stage: DeploymentStage | None
    progress_percent: float
    message: str
    error: ErrorInfo | None


class DeploymentUsage(Struct, frozen=True, kw_only=True):
    """Use of one endpoint since it was made."""

    deployment_id: UUID
    request_count: int
    error_count: int
    last_request_at: datetime | None
    total_inference_time_ms: float


class Download(Struct, frozen=True, kw_only=True):
    """A link that needs no token until `expires_at`."""

    download_url: str
    expires_at: datetime
    filename: str
    sha256: str
    size_bytes: int


class ExportJobPage(Page[ExportJob], frozen=True, kw_only=True):
    """A page of export jobs."""


class DeploymentPage(Page[DeploymentTarget], frozen=True, kw_only=True):
    """A page of deployments."""


class HistoryPage(Page[HistoryEntry], frozen=True, kw_only=True):
    """The whole history of one deployment."""


class TrainingPage(Page[TrainingJob], frozen=True, kw_only=True):
    """A page of trainings."""


def export_job(row: JobRow, bucket: str, waits_for: str = "") -> ExportJob:
    """The answer about a job; paths are `s3://` URIs."""
    state, metadata = row.state, row.state.metadata
    asked = {name: getattr(row, name) for name in ExportJob.__struct_fields__ if hasattr(row, name)}
    told = {name: getattr(state, name) for name in ("status", "stage", "progress_percent", "attempt", "message")}
    sizes = metadata.sizes if metadata else None
    return ExportJob(
        **asked,
        **told,
        waits_for=waits_for,
        worker_id=state.worker_id,
        proof=state.proof,
        parity=metadata.parity if metadata else None,
        exported_model_path=uri(bucket, state.model.key) if state.model else None,
        export_package_path=uri(bucket, state.package.key) if state.package else None,
        model_size_bytes=state.model.size_bytes if state.model else None,
        signing_key_id=metadata.provenance.signing_key_id if metadata and state.package else None,
        wrappers=metadata.wrapper_proofs if metadata and state.package else {},
        optimization_stats=None
        if sizes is None
        else {
            "original_size_mb": round(sizes.original_size_bytes / MIB, 3),
            "exported_size_mb": round(sizes.exported_size_bytes / MIB, 3),
            "compression_ratio": sizes.compression_ratio,
        },
        error_message=state.error.message[:ERROR_MESSAGE_LENGTH] if state.error else None,
        error=state.error,
    )


def progress(row: JobRow) -> ExportProgress:
    """What the stream of events says of a job."""
    state = row.state
    return ExportProgress(
        job_id=row.id, **{name: getattr(state, name) for name in ExportProgress.__struct_fields__ if name != "job_id"}
    )


def deployment_progress(row: DeploymentRow) -> DeploymentProgress:
    """What the stream of events says of a deployment."""
    names = (name for name in DeploymentProgress.__struct_fields__ if name != "deployment_id")
    return DeploymentProgress(deployment_id=row.id, **{name: getattr(row.state, name) for name in names})


PACKAGE_URLS = {DeploymentType.EDGE_PACKAGE: "package_url", DeploymentType.CONTAINER: "dockerfile_url"}
"""What the design calls the place of a package."""


def deployment_target(
    row: DeploymentRow,
    endpoint_url: str | None,
    bucket: str,
    *,
    link: Download | None = None,
    api_key: str | None = None,
) -> DeploymentTarget:
    """The answer about a deployment."""
    config: dict[str, object] = to_builtins(row.config)
    config.pop("type")
    if endpoint_url:
        config |= {"endpoint_url": endpoint_url, "inference_framework": "triton", "replicas": row.state.replicas}
    if row.state.package:
        config |= {PACKAGE_URLS[row.deployment_type]: uri(bucket, row.state.package.key)}
    if link:
        config |= {"download_url": link.download_url, "expires_at": link.expires_at}
    asked = {name: getattr(row, name) for name in DeploymentTarget.__struct_fields__ if hasattr(row, name)}
    return DeploymentTarget(
        **asked,
        status=row.state.status,
        desired_state=row.state.desired,
        generation=row.state.generation,
        stage=row.state.stage,
        progress_percent=row.state.progress_percent,
        message=row.state.message,
        deployment_config=config,
        endpoint_url=endpoint_url,
        api_key=api_key,
        key_prefix=row.key_shown,
        error=row.state.error,
    )
