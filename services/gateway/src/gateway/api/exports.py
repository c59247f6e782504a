"""/api/v1/export: what can be exported, export jobs and what they proved."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, HeaderParameter, JSONBody
from litestar.response import Stream
from msgspec import Struct

from contracts import keys
from contracts.capabilities import ExportCapabilities, WorkerAnnouncement, capability
from contracts.errors import FieldError, Permanent
from contracts.events.training import ExportWish
from contracts.vocabulary import ExportFormat, ExportStatus, Framework
from gateway import once, progress, requests, resources, workers
from gateway.api.common import (
    READ,
    SSE_HEADERS,
    WRITE,
    Config,
    Cursor,
    Id,
    IdempotencyKey,
    Limit,
    Sender,
    VersionTag,
    Wired,
    answering,
    begun,
)
from gateway.parts import Parts
from gateway.resources import ExportJob, ExportJobPage
from gateway.store import accounts, jobs, trainings
from gateway.store.accounts import Caller
from gateway.store.pages import Query
from gateway.traces import Trace
from servicekit.postgres import Connection, transaction

LOG_MAX_BYTES = 32 << 20
REPORT_MAX_BYTES = 32 << 20


class NewExportJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/export/jobs; the configurations are those of the format, see the documentation."""

    training_job_id: UUID
    export_format: ExportFormat
    export_config: Config | None = None
    optimization_config: Config | None = None
    validation_config: Config | None = None
    version_tag: VersionTag | None = None


class ExportJobPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /api/v1/export/jobs/{id}; null takes the tag away."""

    version_tag: VersionTag | None


@get("/api/v1/export/capabilities", **READ)
async def get_capabilities(parts: Wired, framework: FromQuery[Framework]) -> ExportCapabilities:
    """What this framework's models can be exported to, and what live workers can do now."""
    return ExportCapabilities(
        framework=framework,
        formats={export_format: capability(framework, export_format) for export_format in ExportFormat},
        live=await workers.live(parts.bus, framework),
    )


@post("/api/v1/export/jobs", **WRITE)
async def create_export_job(
    parts: Wired, caller: Sender, data: JSONBody[NewExportJob], idempotency_key: IdempotencyKey = None
) -> Response[ExportJob]:
    """Export a training's checkpoint; the job begins as soon as a worker is free."""

    async def effect(conn: Connection) -> ExportJob:
        training = await trainings.get(conn, caller.user_id, data.training_job_id)
        if training is None:
            field = FieldError("training_job_id", "there is no such training")
            raise Permanent("not_found", "No such training.", fields=(field,))
        wish = ExportWish(
            export_format=data.export_format,
            export_config=data.export_config,
            optimization_config=data.optimization_config,
            validation_config=data.validation_config,
            version_tag=data.version_tag,
        )
        row = await requests.request_export(conn, training, wish, parts.settings.export_timeout_s)
        await requests.release_exports(conn, parts.settings.exports_ahead)
        return resources.export_job(row, parts.objects.bucket)

    return await once.perform(parts, caller, effect, path="/api/v1/export/jobs", key=idempotency_key, body=data)


@get("/api/v1/export/jobs", **READ)
async def list_export_jobs(
    parts: Wired,
    caller: Sender,
    training_job_id: FromQuery[UUID | None] = None,
    status: FromQuery[ExportStatus | None] = None,
    export_format: FromQuery[ExportFormat | None] = None,
    version_tag: FromQuery[str | None] = None,
    is_default: FromQuery[bool | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ExportJobPage:
    """Export jobs, newest first."""
    filters = {
        "user_id": caller.user_id,
        "training_job_id": training_job_id,
        "status": status,
        "export_format": export_format,
        "version_tag": version_tag,
        "is_default": is_default,
    }
    return await page_of_jobs(parts, Query(filters=filters, limit=limit, cursor=cursor))


async def page_of_jobs(parts: Parts, query: Query) -> ExportJobPage:
    """One page of answers."""
    page = await jobs.page(parts.pool, query)
    items = await _shown(parts, page.items)
    return ExportJobPage(items=items, next_cursor=page.next_cursor, has_more=page.has_more)


@get("/api/v1/export/jobs/{job_id:uuid}", **READ)
async def get_export_job(parts: Wired, caller: Sender, job_id: Id) -> ExportJob:
    """One export job."""
    [shown] = await _shown(parts, [await _require(parts, caller, job_id)])
    return shown


@patch("/api/v1/export/jobs/{job_id:uuid}", **WRITE)
async def tag_export_job(parts: Wired, caller: Sender, job_id: Id, data: JSONBody[ExportJobPatch]) -> ExportJob:
    """Name this version, or take its name away."""
    async with transaction(parts.pool) as conn:
        row = await requests.tag_version(conn, caller.user_id, job_id, data.version_tag)
    return resources.export_job(row, parts.objects.bucket)


@post("/api/v1/export/jobs/{job_id:uuid}/cancel", status_code=200, **WRITE)
async def cancel_export_job(parts: Wired, caller: Sender, job_id: Id) -> ExportJob:
    """Stop a job that is not over; its run ends within seconds."""
    async with transaction(parts.pool) as conn:
        row = await requests.cancel_export(conn, caller.user_id, job_id)
        await requests.release_exports(conn, parts.settings.exports_ahead)
    return resources.export_job(row, parts.objects.bucket)


@post("/api/v1/export/{job_id:uuid}/set-default", status_code=200, **WRITE)
async def set_default_export(parts: Wired, caller: Sender, job_id: Id) -> ExportJob:
    """Make this the default export of its training."""
    async with transaction(parts.pool) as conn:
        row = await requests.make_default(conn, caller.user_id, job_id)
    return resources.export_job(row, parts.objects.bucket)


@get("/api/v1/export/jobs/{job_id:uuid}/events", media_type="text/event-stream", **READ)
async def follow_export_job(
    request: Request[Caller, str, Any],
    parts: Wired,
    caller: Sender,
    job_id: Id,
    last_event_id: Annotated[
        str | None, HeaderParameter(name="Last-Event-ID", description="The last event seen; what follows is sent.")
    ] = None,
) -> Stream:
    """The job's events as server-sent events: first what has happened, then what happens, until the job is over.

    Events: requested, progressed, exported, completed, failed, cancelled; their ids count from 1.
    """
    after = _sequence(last_event_id)
    row = await _require(parts, caller, job_id)
    content = progress.stream(
        parts.pool,
        parts.progress,
        job_id,
        after=after,
        is_over=row.state.is_terminal,
        keepalive_s=parts.settings.keepalive_s,
    )
    place = parts.limits.stream(caller.user_id, caller.tier)
    permitted = progress.permitted(content, place, lambda: accounts.is_valid(parts.pool, caller.token_id))
    return Stream(await begun(permitted), media_type="text/event-stream", headers=SSE_HEADERS)


@get("/api/v1/export/jobs/{job_id:uuid}/log", media_type=MediaType.TEXT, **READ)
async def get_export_log(parts: Wired, caller: Sender, job_id: Id) -> Stream:
    """The whole log of the last attempt, once it has ended."""
    row = await _require(parts, caller, job_id)
    key = row.state.log.key if row.state.log else keys.attempt_file(job_id, row.state.attempt, keys.LOG)
    return await _stored(parts, key, LOG_MAX_BYTES, MediaType.TEXT, "log")


@get("/api/v1/export/jobs/{job_id:uuid}/report", **answering(READ, dict[str, object]))
async def get_export_report(parts: Wired, caller: Sender, job_id: Id) -> Stream:
    """The parity report: every output and prediction of the artefact against the source."""
    row = await _require(parts, caller, job_id)
    report = row.state.parity_report
    key = report.key if report else keys.attempt_file(job_id, row.state.attempt, keys.PARITY_REPORT)
    return await _stored(parts, key, REPORT_MAX_BYTES, MediaType.JSON, "report")


@get("/api/v1/export/jobs/{job_id:uuid}/metadata", **READ)
async def get_export_metadata(parts: Wired, caller: Sender, job_id: Id) -> dict[str, object]:
    """The package's metadata.json (schema: docs/metadata.schema.json): how the model is run, what was proved, what it was made from and with."""
    state = (await _require(parts, caller, job_id)).state
    if state.metadata is None or state.package is None:
        raise Permanent("not_found", "The job has no package yet.", hint="Wait until the job is over.")
    described: dict[str, object] = msgspec.to_builtins(state.metadata)
    return described


@get("/api/v1/export/jobs/{job_id:uuid}/trace", **READ)
async def get_export_trace(parts: Wired, caller: Sender, job_id: Id) -> Trace:
    """The spans of the job's trace, from the request to the package."""
    row = await _require(parts, caller, job_id)
    if row.trace_id is None:
        raise Permanent("not_found", "This job was not traced.")
    return await parts.traces.get(row.trace_id.hex)


ROUTES: Sequence[HTTPRouteHandler] = (
    get_capabilities,
    create_export_job,
    list_export_jobs,
    get_export_job,
    tag_export_job,
    cancel_export_job,
    set_default_export,
    follow_export_job,
    get_export_log,
    get_export_report,
    get_export_metadata,
    get_export_trace,
)


async def _shown(parts: Parts, rows: Sequence[jobs.JobRow]) -> list[ExportJob]:
    """The answers about jobs; what pending ones wait for is asked of the live workers, once."""
    pending = any(row.state.status is ExportStatus.PENDING for row in rows)
    found = await workers.announced(parts.bus) if pending else None
    return [resources.export_job(row, parts.objects.bucket, _wait(row, found)) for row in rows]


def _wait(row: jobs.JobRow, found: list[WorkerAnnouncement] | None) -> str:
    if found is None or row.state.status is not ExportStatus.PENDING:
        return ""
    return workers.waits_for(found, row.framework, row.route)


async def _require(parts: Parts, caller: Caller, job_id: UUID) -> jobs.JobRow:
    row = await jobs.get(parts.pool, caller.user_id, job_id)
    if row is None:
        raise Permanent("not_found", "No such export job.")
    return row


async def _stored(parts: Parts, key: str, max_bytes: int, media_type: str, what: str) -> Stream:
    try:
        return Stream(await begun(_pieces(parts, key, max_bytes)), media_type=media_type)
    except Permanent as error:
        if error.code != "object_missing":
            raise
        raise Permanent("not_found", f"The job has no {what} yet.", hint="Wait until the job is over.") from error


async def _pieces(parts: Parts, key: str, max_bytes: int) -> AsyncIterator[bytes]:
    async with parts.objects.reading(key, max_bytes) as pieces:
        async for piece in pieces:
            yield piece


def _sequence(last_event_id: str | None) -> int:
    if last_event_id is None or last_event_id == "":
        return 0
    if not last_event_id.isascii() or not last_event_id.isdecimal() or len(last_event_id) > 9:
        message = "is not the id of an event of this stream"
        raise Permanent("invalid_request", f"Last-Event-ID {message}.", fields=(FieldError("Last-Event-ID", message),))
    return int(last_event_id)
