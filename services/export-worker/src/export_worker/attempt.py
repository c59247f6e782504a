"""The work of one run once its sandbox stands: bus and store, the job's fetch, sandboxed step, check, upload, one terminal fact."""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from opentelemetry.trace import Tracer

from contracts import keys
from contracts.errors import ErrorInfo, Permanent
from contracts.events import ModelExportedV1
from contracts.execution import ExportRun, Run
from contracts.keys import ObjectRef
from contracts.vocabulary import ExportStage
from export_worker import facts, plain, reuse
from export_worker.fetch import Checkpoint, fetch
from export_worker.preflight_attempt import PreflightAttempt
from export_worker.room import TEXT, Exit, Room
from export_worker.sandbox import outputs
from export_worker.sandbox.outputs import Artefact
from export_worker.sandbox.steps import Outcome
from export_worker.settings import RunSettings
from servicekit import telemetry
from servicekit.bus import Bus
from servicekit.leases import LeaseLost
from servicekit.objects import ObjectStore
from servicekit.sandbox import watch
from servicekit.telemetry import Telemetry

SERVICE = "export-worker"
JSON = "application/json"
FIRST_WORD_S = 1.0
_log = logging.getLogger(__name__)


async def work(room: Room, settings: RunSettings, traces: Telemetry, awaited: Callable[[], Awaitable[Run]]) -> Exit:
    """Open bus and store, have the job of `awaited`, and do it; raises Transient where neither bus nor store answers."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        bus = Bus(settings.bus.nats_url, SERVICE, traces)
        stack.push_async_callback(bus.stop)
        await bus.connect()
        # the client's first call costs 50 ms of computing: paid here, beside the toolchain's imports
        await store.check()
        run = await awaited()
        attempt: Attempt | PreflightAttempt
        if isinstance(run, ExportRun):
            name, timeout_s = "export run", run.request.timeout_s
            attempt = Attempt(run, room, settings, bus, store, traces)
        else:
            name, timeout_s = "preflight run", settings.worker.preflight_timeout_s
            attempt = PreflightAttempt(run, room, bus, store, traces)
        room.step.limit_time(timeout_s)
        context = telemetry.extract({"traceparent": run.traceparent})
        try:
            with traces.span(name, context=context, job_id=str(run.subject_id), attempt=run.attempt):
                await attempt.perform()
        except LeaseLost as error:
            _log.warning("%s", error)
    return Exit.STATED


class Attempt:
    """One attempt at one job."""

    def __init__(
        self, run: ExportRun, room: Room, settings: RunSettings, bus: Bus, store: ObjectStore, traces: Telemetry
    ) -> None:
        self._run = run
        self._room = room
        self._settings = settings
        self._bus = bus
        self._store = store
        self._traces = traces
        self._progress = facts.ProgressFeed(bus, run)
        self._stage = str(ExportStage.FETCH)

    async def perform(self) -> None:
        """Do the job and state its end; raises LeaseLost, Transient, OSError for a full disk and what is a fault of ours."""
        try:
            try:
                checkpoint, fetch_s = await self._fetch()
                if await self._reused(checkpoint, fetch_s):
                    return
                outcome = await self._convert(checkpoint)
                error = outcome.error
                if error is None:
                    artefact = outputs.collect(self._room.job, self._run, checkpoint)
                    await self._exported(artefact, checkpoint, {ExportStage.FETCH: fetch_s, **outcome.durations_s})
                    return
            except Permanent as refusal:
                error = ErrorInfo.of(refusal, stage=self._stage)
            if await self._is_starved():
                raise OSError(errno.ENOSPC, f"the work folder is full, and the step ended with {error.code}")
            await self._failed(error)
        finally:
            await self._progress.stop()

    async def _is_starved(self) -> bool:
        """Whether the disk is full though the job is within its share of it: what fails then says nothing about the job."""
        return await asyncio.to_thread(watch.is_starved, self._room.job.path, self._room.step.limits)

    async def _fetch(self) -> tuple[Checkpoint, float]:
        began = time.monotonic()
        request = self._run.request
        self._fetched(0.0)
        await self._progress.told(FIRST_WORD_S)
        with self._traces.span("fetch", checkpoint=request.checkpoint_path):
            found = await fetch(self._store, request, self._room.job.input, self._fetched)
        if not self._room.takes_code:
            plain.require(found.path, request.framework)
        self._room.log.say(f"checkpoint {found.path.name}: {found.size_bytes} bytes, SHA-256 {found.sha256}")
        return found, time.monotonic() - began

    def _fetched(self, fraction: float) -> None:
        self._progress.at(ExportStage.FETCH, fraction, "Fetching the checkpoint")

    async def _convert(self, checkpoint: Checkpoint) -> Outcome:
        self._stage = str(ExportStage.CONVERT)
        memory_bytes = self._room.step.limits.memory_bytes
        told = msgspec.structs.replace(self._run, memory_bytes=memory_bytes)
        self._room.job.write_request(msgspec.json.encode(told))
        self._progress.at(ExportStage.LOAD, 0.0, f"Loading {checkpoint.path.name}")
        began = time.time_ns()
        with self._traces.span("step", framework=str(self._run.request.framework)) as span:
            outcome = await self._room.step.finish(self._progress.put)
            _tell_stages(self._traces.tracer, began, outcome)
            if outcome.error is not None:
                span.set_attribute("error.type", outcome.error.code)
        self._stage = str(ExportStage.VERIFY)
        return outcome

    async def _reused(self, checkpoint: Checkpoint, fetch_s: float) -> bool:
        """Whether this user's identical export was made before, and is stated again."""
        if self._settings.worker.reuse_results == "off":
            return False
        found = await reuse.find(self._store, self._run.request, checkpoint.sha256)
        result = await reuse.copy(self._store, found, self._key("")) if found is not None else None
        if result is None:
            return False
        self._room.log.say(f"the same export was made before: {result.metadata.parity.proof}, reused")
        await self._room.step.kill()
        await self._state(result, await self._put_log(), {ExportStage.FETCH: fetch_s})
        return True

    async def _exported(
        self, artefact: Artefact, checkpoint: Checkpoint, durations_s: dict[ExportStage, float]
    ) -> None:
        request, metadata = self._run.request, artefact.metadata
        self._progress.at(ExportStage.VERIFY, 1.0, "Storing the artefact")
        with self._traces.span("upload", bytes=artefact.model.stat().st_size):
            self._room.log.say(f"done: {metadata.parity.proof}")
            model, report, goldens, _, log = await asyncio.gather(
                self._put(artefact.model),
                self._put(artefact.parity_report, JSON),
                self._put(artefact.goldens),
                self._store.put_bytes(self._key(keys.METADATA), msgspec.json.encode(metadata), JSON),
                self._put_log(),
            )
        result = reuse.Result(model=model, parity_report=report, goldens=goldens, metadata=metadata)
        await self._state(result, log, durations_s)
        await reuse.keep(self._store, request, checkpoint.sha256, result)

    async def _state(self, result: reuse.Result, log: ObjectRef, durations_s: dict[ExportStage, float]) -> None:
        request = self._run.request
        fact = ModelExportedV1(
            job_id=request.job_id,
            user_id=request.user_id,
            training_job_id=request.training_job_id,
            version=request.version,
            attempt=self._run.attempt,
            export_format=request.export_format,
            proof=result.metadata.parity.proof,
            model=result.model,
            parity_report=result.parity_report,
            goldens=result.goldens,
            log=log,
            metadata=result.metadata,
            durations_s={stage: round(seconds, 3) for stage, seconds in durations_s.items()},
        )
        await facts.state(self._bus, self._run, fact)

    async def _failed(self, error: ErrorInfo) -> None:
        self._room.log.say(f"failed at {error.stage}: {error.code}: {error.message}")
        report: ObjectRef | None = None
        try:
            report = await self._put(outputs.take_report(self._room.job), JSON)
        except Permanent as missing:
            _log.debug("no parity report: %s", missing)
        await self._room.step.kill()
        log = await self._put_log()
        await facts.state(self._bus, self._run, facts.failed(self._run, error, log=log, parity_report=report))

    def _key(self, name: str) -> str:
        return keys.attempt_file(self._run.request.job_id, self._run.attempt, name)

    async def _put(self, path: Path, content_type: str = "application/octet-stream") -> ObjectRef:
        return await self._store.put_file(self._key(path.name), path, content_type)

    async def _put_log(self) -> ObjectRef:
        self._room.log.close()
        return await self._store.put_file(self._key(keys.LOG), self._room.job.log, TEXT)


def _tell_stages(tracer: Tracer, began_ns: int, outcome: Outcome) -> None:
    """The step's own durations as spans, one behind the other from its start."""
    start = began_ns
    for stage, seconds in outcome.durations_s.items():
        end = start + int(seconds * 1e9)
        tracer.start_span(str(stage), start_time=start).end(end_time=end)
        start = end
