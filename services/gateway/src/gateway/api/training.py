"""/api/v1/training: finished trainings and their exports."""

from collections.abc import Sequence
from typing import Annotated
from uuid import uuid4

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, JSONBody
from msgspec import Meta, Struct

from contracts.errors import Permanent
from contracts.events.training import ExportWish
from contracts.model_package import PRINTABLE
from contracts.vocabulary import ExportFormat, Framework, TaskType
from gateway import once, requests
from gateway.api.common import READ, WRITE, Config, Cursor, Id, IdempotencyKey, Limit, Sender, VersionTag, Wired
from gateway.api.exports import page_of_jobs
from gateway.resources import ExportJobPage, TrainingPage
from gateway.store import trainings
from gateway.store.pages import Query
from gateway.store.trainings import TrainingJob
from servicekit.postgres import Connection

PATH = "/api/v1/training"
BODY_BYTES = 1 << 20
"""Room for the names of tens of thousands of classes."""
ClassName = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]


class NewExport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export to start at once; the fields are those of POST /api/v1/export/jobs."""

    export_format: ExportFormat
    export_config: Config | None = None
    optimization_config: Config | None = None
    validation_config: Config | None = None
    version_tag: VersionTag | None = None


class NewTrainingJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/training; `config` may hold `image_size` [height, width] and timm's `data_config`."""

    framework: Framework
    task_type: TaskType
    model_name: Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
    checkpoint_path: Annotated[str, Meta(min_length=6, max_length=1000)]
    classes: Annotated[list[ClassName], Meta(min_length=1, max_length=32_768)] | None = None
    config: Config | None = None
    export: NewExport | None = None


@post(PATH, **(WRITE | {"request_max_body_size": BODY_BYTES}))
async def register_training(
    parts: Wired, caller: Sender, data: JSONBody[NewTrainingJob], idempotency_key: IdempotencyKey = None
) -> Response[TrainingJob]:
    """Register a finished training whose checkpoint was uploaded; the bus event training.jobs.completed.v1 does the same."""
    path = await requests.check_checkpoint(parts, caller, data.checkpoint_path)
    wish = None
    if data.export is not None:
        wish = ExportWish(**{name: getattr(data.export, name) for name in ExportWish.__struct_fields__})

    async def effect(conn: Connection) -> TrainingJob:
        new = requests.NewTraining(
            id=uuid4(),
            user_id=caller.user_id,
            framework=data.framework,
            task_type=data.task_type,
            model_name=data.model_name,
            checkpoint_path=path,
            classes=data.classes,
            config=data.config,
            export=wish,
        )
        training = await requests.register_training(conn, new, parts.settings.export_timeout_s)
        await requests.release_exports(conn, parts.settings.exports_ahead)
        return training

    return await once.perform(parts, caller, effect, path=PATH, key=idempotency_key, body=data)


@get(PATH, **READ)
async def list_trainings(
    parts: Wired,
    caller: Sender,
    framework: FromQuery[Framework | None] = None,
    task_type: FromQuery[TaskType | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> TrainingPage:
    """Trainings, newest first."""
    filters = {"user_id": caller.user_id, "framework": framework, "task_type": task_type}
    page = await trainings.page(parts.pool, Query(filters=filters, limit=limit, cursor=cursor))
    return TrainingPage(items=page.items, next_cursor=page.next_cursor, has_more=page.has_more)


@get(f"{PATH}/{{training_job_id:uuid}}", **READ)
async def get_training(parts: Wired, caller: Sender, training_job_id: Id) -> TrainingJob:
    """One training."""
    training = await trainings.get(parts.pool, caller.user_id, training_job_id)
    if training is None:
        raise Permanent("not_found", "No such training.")
    return training


@get(f"{PATH}/{{training_job_id:uuid}}/exports", **READ)
async def list_training_exports(
    parts: Wired, caller: Sender, training_job_id: Id, limit: Limit = 50, cursor: Cursor = None
) -> ExportJobPage:
    """The exports of one training, newest version first."""
    if await trainings.get(parts.pool, caller.user_id, training_job_id) is None:
        raise Permanent("not_found", "No such training.")
    filters = {"user_id": caller.user_id, "training_job_id": training_job_id}
    return await page_of_jobs(parts, Query(filters=filters, limit=limit, cursor=cursor))


ROUTES: Sequence[HTTPRouteHandler] = (register_training, list_trainings, get_training, list_training_exports)
