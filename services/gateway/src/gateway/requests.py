"""Commands about trainings and exports; each runs inside the caller's transaction."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from msgspec import Struct

from contracts import keys
from contracts.capabilities import require_supported
from contracts.errors import ErrorInfo, FieldError, ModelportError, Permanent
from contracts.events import ExportCancelledV1, ExportRequestedV1
from contracts.events.training import ExportWish
from contracts.export_options import parse_export_options
from contracts.optimization import parse_optimization, parse_validation
from contracts.tiers import TIERS
from contracts.vocabulary import ExportStatus, Framework, TaskType, Tier
from gateway import resources
from gateway.export_job import apply
from gateway.parts import SERVICE, Parts
from gateway.queue import choose
from gateway.store import accounts, jobs, owners, trainings
from gateway.store import queue as queue_store
from gateway.store.accounts import Caller
from gateway.store.jobs import JobRow
from gateway.store.trainings import TrainingJob
from gateway.sweep import is_expired_upload
from servicekit.objects import ObjectInfo, ObjectStore
from servicekit.outbox import put_event
from servicekit.postgres import Connection
from servicekit.telemetry import current_trace_id, inject
from servicekit.uris import parse_uri, uri


class NewTraining(Struct, frozen=True, kw_only=True):
    """A finished training, from a person or from the bus."""

    id: UUID
    user_id: UUID
    framework: Framework
    task_type: TaskType
    model_name: str
    checkpoint_path: str
    classes: list[str] | None
    config: dict[str, object] | None
    export: ExportWish | None


def checkpoint_key(checkpoint_path: str, bucket: str, user_id: UUID, *, within: str = "") -> str:
    """The key of a checkpoint of the user's in our bucket, `within` a prefix; a folder may end in a slash. Permanent("invalid_uri")."""
    key = parse_uri(checkpoint_path.rstrip("/"), bucket)
    if not key.startswith(within) or not keys.is_checkpoint_of(key, user_id):
        raise Permanent(
            "invalid_uri",
            "checkpoint_path must be an upload of your own.",
            fields=(FieldError("checkpoint_path", "must be a `uri` answered by POST /api/v1/uploads"),),
        )
    return key


async def check_checkpoint(parts: Parts, caller: Caller, checkpoint_path: str) -> str:
    """The normalised URI of a checkpoint that the caller may use, that exists and that its tier allows.

    Administrators may also name what platform services put into the bucket. Raises Permanent: invalid_uri, object_missing, checkpoint_too_large.
    """
    within = "" if caller.is_admin else f"uploads/{caller.user_id}/"
    bucket = parts.objects.bucket
    key = checkpoint_key(checkpoint_path, bucket, caller.user_id, within=within)
    stored = await _stored(parts.objects, key)
    require_size(caller.tier, sum(item.size_bytes for item in stored), "checkpoint_path")
    oldest = min(item.modified for item in stored if item.modified)
    keep = timedelta(seconds=parts.settings.upload_keep_s)
    path = uri(bucket, key)
    if is_expired_upload(key, oldest, datetime.now(UTC), keep) and not await owners.checkpoints(parts.pool, [path]):
        field = FieldError("checkpoint_path", "the upload has expired")
        sentence = "checkpoint_path: the upload was not registered in time and has expired."
        raise Permanent("object_missing", sentence, hint="Upload the checkpoint again.", fields=(field,))
    return path


def require_size(tier: Tier, size_bytes: int, field: str) -> None:
    """Raises Permanent("checkpoint_too_large")."""
    allowed = TIERS[tier].checkpoint_max_bytes
    if size_bytes > allowed:
        message = f"has {size_bytes} bytes, the {tier} tier allows {allowed}"
        raise Permanent("checkpoint_too_large", f"{field} {message}.", fields=(FieldError(field, message),))


async def register_training(conn: Connection, new: NewTraining, timeout_s: int) -> TrainingJob:
    """Make a training known, once, and start the export that came with it.

    Raises Permanent("conflict") where the id belongs to something else, and what `request_export` raises.
    """
    training = TrainingJob(
        id=new.id,
        user_id=new.user_id,
        framework=new.framework,
        task_type=new.task_type,
        model_name=new.model_name,
        checkpoint_path=new.checkpoint_path,
        classes=new.classes,
        config=new.config,
        created_at=datetime.now(UTC),
    )
    if await trainings.insert(conn, training):
        if new.export is not None:
            await request_export(conn, training, new.export, timeout_s)
        return training
    known = await trainings.get(conn, new.user_id, new.id)
    if known is None or known.checkpoint_path != new.checkpoint_path:
        raise Permanent("conflict", f"Training {new.id} is already known as something else.")
    return known


async def request_export(
    conn: Connection, training: TrainingJob, wish: ExportWish, timeout_s: int, *, waits: bool = False
) -> JobRow:
    """A new job, which waits for its turn: `release_exports` asks the workers for it.

    `waits`: however many exports of the user are running or waiting.
    Raises Permanent: invalid_request, unsupported, export_limit_reached (the month's); ModelportError("export_limit_reached")
    while too many exports are running.
    """
    options = parse_export_options(wish.export_format, wish.export_config)
    optimization = parse_optimization(wish.optimization_config)
    validation = parse_validation(wish.validation_config)
    require_supported(training.framework, training.task_type, options, optimization, validation)
    tier = await _admit(conn, training.user_id, waits=waits)
    request = ExportRequestedV1(
        job_id=uuid4(),
        user_id=training.user_id,
        training_job_id=training.id,
        version=await trainings.next_version(conn, training.id),
        framework=training.framework,
        task_type=training.task_type,
        model_name=training.model_name,
        checkpoint_path=training.checkpoint_path,
        checkpoint_max_bytes=TIERS[tier].checkpoint_max_bytes,
        classes=training.classes,
        source_config=training.config or {},
        export_format=wish.export_format,
        options=options,
        optimization=optimization,
        validation=validation,
        timeout_s=timeout_s,
    )
    trace_id, traceparent = running_trace()
    row = await jobs.insert(
        conn,
        jobs.NewJob(
            request=request,
            version_tag=wish.version_tag,
            trace_id=trace_id,
            traceparent=traceparent,
            export_config=wish.export_config,
            optimization_config=wish.optimization_config,
            validation_config=wish.validation_config,
        ),
    )
    await jobs.append_event(conn, row.id, "requested", resources.progress(row))
    return row


async def release_exports(conn: Connection, ahead: int) -> int:
    """Ask the workers for the jobs whose turn it is; the last thing that a transaction does. How many."""
    line = await queue_store.line(conn, ahead)
    asked = 0
    for job_id in choose(line.waiting, line.asked, ahead):
        due = await queue_store.release(conn, job_id)
        if due is not None:
            asked += 1
            await put_event(
                conn,
                due.request,
                subject_id=job_id,
                source=SERVICE,
                sequence=due.requests,
                traceparent=due.traceparent,
            )
    return asked


async def start_export(conn: Connection, training: TrainingJob, wish: ExportWish, timeout_s: int) -> JobRow:
    """Like `request_export` for a wish that nobody waits for: what is refused becomes a failed job that says why.

    While too many exports of the user are running it waits for its turn.
    """
    try:
        return await request_export(conn, training, wish, timeout_s, waits=True)
    except Permanent as error:
        trace_id, traceparent = running_trace()
        refused = jobs.RefusedJob(
            id=uuid4(),
            version=await trainings.next_version(conn, training.id),
            wish=wish,
            error=ErrorInfo.of(error),
            trace_id=trace_id,
            traceparent=traceparent,
        )
        row = await jobs.insert_refused(conn, training, refused)
        await jobs.append_event(conn, row.id, "failed", resources.progress(row))
        return row


async def cancel_export(conn: Connection, user_id: UUID, job_id: UUID) -> JobRow:
    """Cancelled at once; whoever works on it stops. Raises Permanent: not_found, conflict where the job is over."""
    row = await _lock_own(conn, user_id, job_id)
    fact = ExportCancelledV1(job_id=job_id)
    after = apply(row.state, fact)
    if after is row.state:
        raise Permanent("conflict", f"The export is {row.state.status} already.")
    await jobs.save(conn, job_id, after)
    row = await _lock_own(conn, user_id, job_id)
    await jobs.append_event(conn, job_id, "cancelled", resources.progress(row))
    await put_event(conn, fact, subject_id=job_id, source=SERVICE, sequence="command")
    return row


async def make_default(conn: Connection, user_id: UUID, job_id: UUID) -> JobRow:
    """Move the training's default here. Raises Permanent: not_found, conflict where the job is not completed."""
    row = await require_job(conn, user_id, job_id)
    if row.state.status is not ExportStatus.COMPLETED:
        raise Permanent("conflict", f"The export is {row.state.status}; only a completed one can be the default.")
    await trainings.lock(conn, row.training_job_id)
    await jobs.set_default(conn, row.training_job_id, job_id)
    return await require_job(conn, user_id, job_id)


async def tag_version(conn: Connection, user_id: UUID, job_id: UUID, version_tag: str | None) -> JobRow:
    """Name a version, or take its name away; Permanent("not_found")."""
    await _lock_own(conn, user_id, job_id)
    await jobs.set_tag(conn, job_id, version_tag)
    return await require_job(conn, user_id, job_id)


async def require_job(conn: Connection, user_id: UUID, job_id: UUID) -> JobRow:
    row = await jobs.get(conn, user_id, job_id)
    if row is None:
        raise Permanent("not_found", "No such export job.")
    return row


async def _lock_own(conn: Connection, user_id: UUID, job_id: UUID) -> JobRow:
    row = await jobs.lock(conn, job_id)
    if row is None or row.user_id != user_id:
        raise Permanent("not_found", "No such export job.")
    return row


async def _admit(conn: Connection, user_id: UUID, *, waits: bool) -> Tier:
    """The tier, once its limits allow one more job; the user's row is held, so that no two requests pass together.

    A month that is used up is Permanent, so many running at a time are not: that passes by itself within minutes.
    """
    user = await accounts.lock_user(conn, user_id)
    if user is None:
        raise Permanent("not_found", "No such user.")
    limits = TIERS[user.tier]
    if limits.exports_per_month is not None and await jobs.count_this_month(conn, user_id) >= limits.exports_per_month:
        sentence = f"The {user.tier} tier allows {limits.exports_per_month} exports a month."
        raise Permanent("export_limit_reached", sentence, hint="Wait for the next month or move to a higher tier.")
    running = await jobs.count_open(conn, user_id)
    if running >= limits.concurrent_exports and not waits:
        sentence = f"{running} exports are running, the {user.tier} tier allows {limits.concurrent_exports} at a time."
        raise ModelportError("export_limit_reached", sentence)
    return user.tier


async def _stored(objects: ObjectStore, key: str) -> list[ObjectInfo]:
    """The object, or everything in a folder of that name."""
    try:
        return [await objects.head(key)]
    except Permanent as error:
        if error.code != "object_missing":
            raise
        found = await objects.list(f"{key}/")
        if not found:
            field = FieldError("checkpoint_path", "there is no such object")
            raise Permanent("object_missing", "checkpoint_path: there is no such object.", fields=(field,)) from error
        return found


def running_trace() -> tuple[UUID | None, str]:
    """The running trace's id as a UUID, and the W3C `traceparent` to continue it later."""
    headers: dict[str, str] = {}
    inject(headers)
    trace_id = current_trace_id()
    return (UUID(hex=trace_id) if trace_id else None), headers.get("traceparent", "")
