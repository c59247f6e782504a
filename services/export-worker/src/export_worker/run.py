"""One attempt at one job: fetch, sandboxed step, check, upload, one terminal fact; `python -m export_worker.run`.

The job comes by the environment of `contracts.execution`. With `--warm <framework>` the toolchain is imported first, `ready` is
printed, and the job's variables are awaited as one JSON object on standard input.

Exit status: 0 a terminal fact is stated (or another attempt owns the job), 64 the environment cannot be read, 70 a fault of ours,
75 the bus or the store did not answer, 143 ended by SIGTERM. Anything but 0 has stated nothing.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from enum import IntEnum
from pathlib import Path
from uuid import uuid4

import msgspec
from opentelemetry.trace import Tracer

from contracts import keys
from contracts.errors import ErrorInfo, Permanent, Transient
from contracts.events import ModelExportedV1
from contracts.execution import ExportRun
from contracts.keys import ObjectRef
from contracts.vocabulary import ExportStage, Framework
from export_worker import facts
from export_worker.fetch import Checkpoint, fetch
from export_worker.sandbox import bubblewrap, outputs
from export_worker.sandbox.job_dir import JobDir
from export_worker.sandbox.outputs import Artefact
from export_worker.sandbox.step_log import StepLog
from export_worker.sandbox.steps import CHILD, Outcome, Step
from export_worker.settings import RunSettings, load_run
from servicekit import telemetry
from servicekit.bus import Bus
from servicekit.leases import LeaseLost
from servicekit.objects import ObjectStore
from servicekit.telemetry import Telemetry

SERVICE = "export-worker"
RUN_DIR, PARENT = "MODELPORT_RUN_DIR", "MODELPORT_PARENT_PID"
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
MAX_JOB_BYTES = 8 << 20
_PR_SET_PDEATHSIG = 1
_log = logging.getLogger(__name__)


class Exit(IntEnum):
    """What the one who started the run may conclude."""

    STATED = 0
    BAD_ENVIRONMENT = 64
    BROKEN = 70
    TRY_AGAIN = 75
    ENDED = 143


class Room:
    """Where a run works before and after it knows its job: its folders, its log and its sandboxed step."""

    def __init__(self, settings: RunSettings, environ: Mapping[str, str], command: tuple[str, ...]) -> None:
        box, state = bubblewrap.detect(environ)
        if box is None:
            raise Transient("sandbox_unavailable", f"This worker has no sandbox: {state.description}.")
        limits = settings.worker.limits(settings.worker.step_timeout_s)
        root = Path(environ.get(RUN_DIR) or Path(settings.worker.work_dir) / f"run-{uuid4().hex}")
        self.job = JobDir.create(root, box.uid())
        self.log = StepLog(self.job.log, limits.log_bytes)
        self.step = Step(box, self.job, limits, self.log, command=command)

    async def close(self) -> None:
        await self.step.kill()
        self.log.close()


class Attempt:
    """The work of one run once its job is known."""

    def __init__(self, run: ExportRun, room: Room, bus: Bus, store: ObjectStore, traces: Telemetry) -> None:
        self._run = run
        self._room = room
        self._bus = bus
        self._store = store
        self._traces = traces
        self._progress = facts.ProgressFeed(bus, run)
        self._stage = str(ExportStage.FETCH)

    async def perform(self) -> None:
        """Do the job and state its end; raises LeaseLost, Transient and what is a fault of ours."""
        try:
            try:
                checkpoint, fetch_s = await self._fetch()
                outcome = await self._convert(checkpoint)
                error = outcome.error
                if error is None:
                    await self._exported(outputs.collect(self._room.job, self._run, checkpoint), outcome, fetch_s)
                    return
            except Permanent as refusal:
                error = ErrorInfo.of(refusal, stage=self._stage)
            await self._failed(error)
        finally:
            await self._progress.stop()

    async def _fetch(self) -> tuple[Checkpoint, float]:
        began = time.monotonic()
        request = self._run.request
        self._fetched(0.0)
        with self._traces.span("fetch", checkpoint=request.checkpoint_path):
            found = await fetch(self._store, request, self._room.job.input, self._fetched)
        self._room.log.say(f"checkpoint {found.path.name}: {found.size_bytes} bytes, SHA-256 {found.sha256}")
        return found, time.monotonic() - began

    def _fetched(self, fraction: float) -> None:
        self._progress.at(ExportStage.FETCH, fraction, "Fetching the checkpoint")

    async def _convert(self, checkpoint: Checkpoint) -> Outcome:
        self._stage = str(ExportStage.CONVERT)
        self._room.job.write_request(msgspec.json.encode(self._run))
        self._progress.at(ExportStage.LOAD, 0.0, f"Loading {checkpoint.path.name}")
        began = time.time_ns()
        with self._traces.span("step", framework=str(self._run.request.framework)) as span:
            outcome = await self._room.step.finish(self._progress.put)
            _tell_stages(self._traces.tracer, began, outcome)
            if outcome.error is not None:
                span.set_attribute("error.type", outcome.error.code)
        self._stage = str(ExportStage.VERIFY)
        return outcome

    async def _exported(self, artefact: Artefact, outcome: Outcome, fetch_s: float) -> None:
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
        fact = ModelExportedV1(
            job_id=request.job_id,
            user_id=request.user_id,
            training_job_id=request.training_job_id,
            version=request.version,
            attempt=self._run.attempt,
            export_format=request.export_format,
            proof=metadata.parity.proof,
            model=model,
            parity_report=report,
            goldens=goldens,
            log=log,
            metadata=metadata,
            durations_s={ExportStage.FETCH: round(fetch_s, 3), **outcome.durations_s},
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


async def perform(environ: Mapping[str, str], warm: Framework | None, command: tuple[str, ...] = CHILD) -> Exit:
    """The whole process; see the module's page for what the answer means."""
    traces = telemetry.setup(SERVICE, environ)
    try:
        settings = load_run(environ)
        async with AsyncExitStack() as stack:
            room = Room(settings, environ, command)
            stack.push_async_callback(room.close)
            run = None if warm else ExportRun.from_env(environ)
            framework = run.request.framework if run else warm
            assert framework is not None
            await room.step.start(framework)
            store = await stack.enter_async_context(ObjectStore(settings.s3))
            bus = Bus(settings.bus.nats_url, SERVICE, traces)
            stack.push_async_callback(bus.stop)
            await bus.connect()
            if run is None:
                run = await _await_job(room)
            room.step.limit_time(run.request.timeout_s)
            context = telemetry.extract({"traceparent": run.traceparent})
            with traces.span("export run", context=context, job_id=str(run.request.job_id), attempt=run.attempt):
                await Attempt(run, room, bus, store, traces).perform()
        return Exit.STATED
    except asyncio.CancelledError:
        return Exit.ENDED
    except LeaseLost as error:
        _log.warning("%s", error)
        return Exit.STATED
    except (Transient, OSError) as error:
        _log.warning("try again later: %s", error)
        return Exit.TRY_AGAIN
    except Permanent as error:
        _log.error("%s", error)
        return Exit.BAD_ENVIRONMENT
    except Exception:
        _log.exception("the run is at fault")
        return Exit.BROKEN
    finally:
        await asyncio.to_thread(traces.shutdown)


async def _await_job(room: Room) -> ExportRun:
    """Say that the toolchain is imported and wait for the job; raises Transient where the child did not come up."""
    if not await room.step.ready():
        raise Transient("unavailable", "the toolchain could not be imported")
    print("ready", flush=True)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=MAX_JOB_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        raise asyncio.CancelledError
    return ExportRun.from_env(msgspec.json.decode(line, type=dict[str, str]))


def _tell_stages(tracer: Tracer, began_ns: int, outcome: Outcome) -> None:
    """The step's own durations as spans, one behind the other from its start."""
    start = began_ns
    for stage, seconds in outcome.durations_s.items():
        end = start + int(seconds * 1e9)
        tracer.start_span(str(stage), start_time=start).end(end_time=end)
        start = end


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its starter dies, also by kill -9; at once where it is dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


async def _until_terminated(environ: Mapping[str, str], warm: Framework | None, command: tuple[str, ...]) -> Exit:
    task = asyncio.create_task(perform(environ, warm, command))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main(arguments: list[str], environ: Mapping[str, str] = os.environ, *, command: tuple[str, ...] = CHILD) -> Exit:
    """Entry of the process; `command` is what runs inside the sandbox."""
    if PARENT in environ:
        _die_with(int(environ[PARENT]))
    warm = Framework(arguments[1]) if arguments[:1] == ["--warm"] else None
    return asyncio.run(_until_terminated(environ, warm, command))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
