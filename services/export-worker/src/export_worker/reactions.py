"""The worker's part in the choreography: takes requests, has each run apart, and speaks for runs that cannot."""

import asyncio
import logging
import time
from pathlib import Path
from uuid import UUID

from contracts import keys
from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo, ModelportError
from contracts.events import ExportCancelledV1, ExportRequestedV1
from contracts.execution import ExportRun
from contracts.keys import ObjectRef
from export_worker import facts
from export_worker.launchers import Launcher, RunHandle, RunState
from export_worker.room import TEXT
from export_worker.supervise import launched, until_end, verdict
from servicekit import telemetry
from servicekit.bus import Bus
from servicekit.jobs import Exhausted
from servicekit.leases import Lease
from servicekit.objects import ObjectStore

KEEP_S = 25 * 3600.0
"""How long a cancellation is remembered: longer than an export waits on the bus for a worker."""
EXTRA_S = 900.0
"""What a run may take beside its step: fetching and storing."""
_log = logging.getLogger(__name__)


class Exports:
    """Handlers of the worker's consumers; one `on_export_requested` runs per busy slot."""

    def __init__(self, launcher: Launcher, bus: Bus, store: ObjectStore, worker_id: str) -> None:
        self._launcher = launcher
        self._bus = bus
        self._store = store
        self._worker_id = worker_id
        self._cancelled: dict[UUID, float] = {}
        self._stops: dict[UUID, asyncio.Event] = {}

    async def on_export_cancelled(self, event: ExportCancelledV1, meta: EventMeta) -> None:
        """Remember the job, so that it does not start any more, and end its run if it is ours."""
        now = time.monotonic()
        self._cancelled = {job: at for job, at in self._cancelled.items() if now - at < KEEP_S}
        self._cancelled[event.job_id] = now
        if (stop := self._stops.get(event.job_id)) is not None:
            stop.set()

    async def on_export_requested(self, event: ExportRequestedV1, meta: EventMeta, lease: Lease) -> None:
        """Have the job run to a terminal fact; Transient where it must be tried again. Cancelling kills the run."""
        if event.job_id in self._cancelled:
            return
        stop = self._stops[event.job_id] = asyncio.Event()
        try:
            await self._run(self._attempt(event, lease.attempt), stop)
        finally:
            del self._stops[event.job_id]

    async def on_exhausted(self, event: ExportRequestedV1, reason: Exhausted) -> None:
        """State that the job is given up."""
        error = ErrorInfo(**{name: getattr(reason, name) for name in ErrorInfo.__struct_fields__})
        run = self._attempt(event, reason.attempt)
        await self._bus.publish(facts.failed(run, error), subject_id=event.job_id, sequence=reason.attempt)

    def _attempt(self, event: ExportRequestedV1, attempt: int) -> ExportRun:
        headers: dict[str, str] = {}
        telemetry.inject(headers)
        return ExportRun(
            request=event, attempt=attempt, worker_id=self._worker_id, traceparent=headers.get("traceparent", "")
        )

    async def _run(self, run: ExportRun, stop: asyncio.Event) -> None:
        async with launched(self._launcher, run) as handle:
            state = await until_end(self._launcher, handle, stop, run.request.timeout_s + EXTRA_S)
            if stop.is_set():
                _log.info("job %s is cancelled", run.request.job_id)
            elif state is not RunState.SUCCEEDED:
                await self._speak_for(run, handle, state)

    async def _speak_for(self, run: ExportRun, handle: RunHandle, state: RunState) -> None:
        """State the end of a run that has stated none; raises Transient where the job must be tried again."""
        error = await verdict(self._launcher, handle, state)
        log = (await self._launcher.remains(handle)).log
        reference = await self._keep_log(run, log) if log is not None else None
        await facts.state(self._bus, run, facts.failed(run, error, log=reference))

    async def _keep_log(self, run: ExportRun, log: Path) -> ObjectRef | None:
        key = keys.attempt_file(run.request.job_id, run.attempt, keys.LOG)
        try:
            return await self._store.put_file(key, log, TEXT)
        except ModelportError as error:
            _log.warning("the log of job %s is not stored: %s", run.request.job_id, error)
            return None
