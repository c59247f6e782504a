"""One attempt at one preflight: fetch, a sandboxed look at the checkpoint, one answer."""

import asyncio
import errno
import time
from typing import NamedTuple

import msgspec

from contracts.errors import ErrorInfo, Permanent
from contracts.events import PreflightAnsweredV1
from contracts.execution import PreflightRun
from contracts.preflight import Forecast
from contracts.vocabulary import ExportStage
from export_worker import facts, kept, plain
from export_worker.fetch import fetch
from export_worker.room import Room
from export_worker.sandbox import forecasts
from export_worker.sandbox.messages import Progress
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.sandbox import watch
from servicekit.telemetry import Telemetry


class Look(NamedTuple):
    """What was foreseen, or why nothing was; `is_whole`: it will be the same the next time."""

    forecasts: tuple[Forecast, ...] = ()
    error: ErrorInfo | None = None
    is_whole: bool = False


class PreflightAttempt:
    """Foresees what would become of a checkpoint; whatever happens in the sandbox ends in an answer."""

    def __init__(self, run: PreflightRun, room: Room, bus: Bus, store: ObjectStore, traces: Telemetry) -> None:
        self._run = run
        self._room = room
        self._bus = bus
        self._store = store
        self._traces = traces
        self._stage = str(ExportStage.FETCH)

    async def perform(self) -> None:
        """State the answer; raises LeaseLost, Transient, OSError for a full disk and what is a fault of ours."""
        began = time.monotonic()
        try:
            look = await self._look()
        except Permanent as refusal:
            look = Look(error=ErrorInfo.of(refusal, stage=self._stage))
        starved = await asyncio.to_thread(watch.is_starved, self._room.job.path, self._room.step.limits)
        if starved and not look.is_whole:
            raise OSError(errno.ENOSPC, "the work folder is full")
        answer = PreflightAnsweredV1(
            preflight_id=self._run.request.preflight_id,
            user_id=self._run.request.user_id,
            forecasts=look.forecasts,
            error=look.error,
            duration_s=round(time.monotonic() - began, 3),
        )
        if look.is_whole and self._run.keep_as:
            await kept.keep(self._store, self._run.keep_as, answer)
        await facts.state(self._bus, self._run, answer)

    async def _look(self) -> Look:
        run, room = self._run, self._room
        with self._traces.span("fetch", checkpoint=run.request.checkpoint_path):
            checkpoint = await fetch(self._store, run.request, room.job.input, _unheard)
        if not room.takes_code:
            plain.require(checkpoint.path, run.request.framework)
        self._stage = str(ExportStage.LOAD)
        memory_bytes = room.step.limits.memory_bytes
        room.job.write_request(msgspec.json.encode(msgspec.structs.replace(run, memory_bytes=memory_bytes)))
        await room.step.ready()  # imports on a busy machine are not the checkpoint's fault
        with self._traces.span("step", framework=str(run.request.framework)) as span:
            outcome = await room.step.finish(_silent)
            if outcome.error is not None:
                span.set_attribute("error.type", outcome.error.code)
        if outcome.error is None:
            return Look(forecasts.collect(room.job, run.request.wishes), is_whole=True)
        begun = forecasts.collect_begun(room.job, run.request.wishes, outcome.error)
        return Look(begun, error=None if begun else outcome.error)


def _unheard(_: float) -> None:
    return None


def _silent(_: Progress) -> None:
    return None
