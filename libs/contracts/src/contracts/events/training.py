"""Facts of the training platform."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from contracts.vocabulary import ExportFormat, Framework, TaskType


class ExportWish(Struct, frozen=True, kw_only=True):
    """An export to start as soon as the training is registered; the fields are those of POST /api/v1/export/jobs."""

    export_format: ExportFormat
    export_config: dict[str, object] | None = None
    optimization_config: dict[str, object] | None = None
    validation_config: dict[str, object] | None = None
    version_tag: str | None = None


class TrainingCompletedV1(Struct, frozen=True, kw_only=True, tag_field="type", tag="training.jobs.completed.v1"):
    """A training has ended and its checkpoint lies in the bucket.

    `config` may hold what the checkpoint does not say: `image_size` [height, width], timm's `data_config`.
    """

    training_job_id: UUID
    user_id: UUID
    framework: Framework
    task_type: TaskType
    model_name: Annotated[str, Meta(min_length=1, max_length=200)]
    checkpoint_path: Annotated[str, Meta(min_length=6, max_length=1000)]
    classes: list[str] | None = None
    config: dict[str, object] | None = None
    export: ExportWish | None = None
