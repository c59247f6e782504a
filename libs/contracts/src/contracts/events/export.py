"""Requests and facts of an export, in the order of a job's life."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from contracts.errors import ErrorInfo
from contracts.export_options import ExportOptions, export_route
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from contracts.optimization import OptimizationConfig, ValidationConfig
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, ExportRoute, ExportStage, Framework, Proof, TaskType

Percent = Annotated[float, Meta(ge=0.0, le=100.0)]
Attempt = Annotated[int, Meta(ge=1)]


class ExportRequestedV1(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="export.jobs.requested.v1"
):
    """Everything a worker needs to make the artefact; routed by format, and by flavour where a format has several builders."""

    job_id: UUID
    user_id: UUID
    training_job_id: UUID
    version: Annotated[int, Meta(ge=1)]
    framework: Framework
    task_type: TaskType
    model_name: str
    checkpoint_path: str
    checkpoint_max_bytes: int
    classes: list[str] | None = None
    source_config: dict[str, object] = {}
    export_format: ExportFormat
    options: ExportOptions
    optimization: OptimizationConfig = OptimizationConfig()
    validation: ValidationConfig = ValidationConfig()
    timeout_s: Annotated[int, Meta(ge=1)] = 1800

    @property
    def export_route(self) -> ExportRoute:
        """Last token of the subject."""
        return export_route(self.options)


class ExportProgressedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.jobs.progressed.v1"):
    """A running attempt is alive and here; `percent` is of the whole job."""

    job_id: UUID
    attempt: Attempt
    stage: ExportStage
    percent: Percent
    message: str
    worker_id: str


class ModelExportedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.models.exported.v1"):
    """The artefact stands, its parity is proven as far as `proof` says; the packager goes on.

    `metadata` is complete but for `runtime_wrappers` and `files`, which the packager adds.
    """

    job_id: UUID
    user_id: UUID
    training_job_id: UUID
    version: int
    attempt: Attempt
    export_format: ExportFormat
    proof: Proof
    model: ObjectRef
    parity_report: ObjectRef
    goldens: ObjectRef
    log: ObjectRef
    metadata: ModelMetadata
    durations_s: dict[ExportStage, float] = {}


class PackageBuiltV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.packages.built.v1"):
    """The package, and loose what of it is opened by itself, lie under exports/{job_id}/; the job is complete."""

    job_id: UUID
    user_id: UUID
    attempt: Attempt
    export_format: ExportFormat
    proof: Proof
    package: ObjectRef
    model: ObjectRef
    parity_report: ObjectRef
    metadata: ModelMetadata
    duration_s: float = 0.0


class ExportFailedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.jobs.failed.v1"):
    """The job is over without an artefact; `log` and `parity_report` are there if the run got that far."""

    job_id: UUID
    attempt: Annotated[int, Meta(ge=0)]
    error: ErrorInfo
    log: ObjectRef | None = None
    parity_report: ObjectRef | None = None


class ExportCancelledV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.jobs.cancelled.v1"):
    """The owner has cancelled the job; whoever works on it stops."""

    job_id: UUID


class PreflightRequestedV1(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="export.preflights.requested.v1",
):
    """Somebody wants to know what would become of a checkpoint; `wishes` holds the options of every format to look at."""

    preflight_id: UUID
    user_id: UUID
    training_job_id: UUID
    framework: Framework
    task_type: TaskType
    model_name: str
    checkpoint_path: str
    checkpoint_max_bytes: int
    classes: list[str] | None = None
    source_config: dict[str, object] = {}
    wishes: list[ExportOptions]
    optimization: OptimizationConfig = OptimizationConfig()
    optimized: ExportFormat | None = None
    """The one format that `optimization` is meant for; None: all of them."""


class PreflightAnsweredV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="export.preflights.answered.v1"):
    """What a worker foresees, one forecast per wish; `error` where the checkpoint itself cannot be used."""

    preflight_id: UUID
    user_id: UUID
    forecasts: tuple[Forecast, ...] = ()
    error: ErrorInfo | None = None
    cached: bool = False
    duration_s: float = 0.0
