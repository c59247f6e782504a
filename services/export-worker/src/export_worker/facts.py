"""What one run states on the bus: throttled progress, and one terminal fact behind a proof that the job is still its own."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import msgspec
import nats.js.errors

from contracts.errors import ErrorInfo, ModelportError
from contracts.events import Event, ExportFailedV1, ExportProgressedV1
from contracts.execution import ExportRun, Run
from contracts.keys import ObjectRef
from contracts.subjects import LEASES
from contracts.vocabulary import ExportStage
from export_worker.sandbox.messages import Progress, printable
from servicekit.bus import Bus
from servicekit.leases import LeaseLost, LeaseRecord

PERIOD_S = 0.5
SILENCE_S = 10.0
FENCE_TRIES = 5
SHARES: dict[ExportStage, tuple[float, float]] = {
    # part of the whole job in percent, from measured jobs; the packager ends it
    ExportStage.FETCH: (0.0, 5.0),
    ExportStage.LOAD: (5.0, 20.0),
    ExportStage.OPTIMISE: (20.0, 30.0),
    ExportStage.CONVERT: (30.0, 55.0),
    ExportStage.VERIFY: (55.0, 85.0),
    ExportStage.VALIDATE: (85.0, 90.0),
    ExportStage.PACKAGE: (90.0, 100.0),
}
ORDER = tuple(SHARES)
_log = logging.getLogger(__name__)


def percent(stage: ExportStage, fraction: float) -> float:
    """How much of the whole job is done, 0 to 100."""
    first, last = SHARES[stage]
    return round(first + (last - first) * min(max(fraction, 0.0), 1.0), 1)


class Publisher(Protocol):
    """What of `servicekit.bus.Bus` progress needs."""

    async def publish(self, event: Event, *, subject_id: UUID, sequence: str) -> str:
        """Publish with an id that retries reproduce."""


class ProgressFeed:
    """Publishes the newest word at most every half second, a new stage at once; never goes back.

    In silence the last word is repeated every ten seconds; losing one is no error.
    """

    def __init__(self, bus: Publisher, run: ExportRun) -> None:
        self._bus = bus
        self._run = run
        self._waiting: dict[ExportStage, Progress] = {}
        self._furthest = 0
        self._percent = 0.0
        self._count = 0
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        self._told = asyncio.Event()
        self._stopping = False
        self._task = asyncio.create_task(self._publish())

    def put(self, word: Progress) -> None:
        """Take the newest word of a stage; one of an earlier stage than the furthest is dropped. Returns at once."""
        order = ORDER.index(word.stage)
        if order < self._furthest:
            return
        if order > self._furthest:
            self._moved.set()
        self._furthest = order
        self._waiting[word.stage] = word
        self._told.clear()
        self._changed.set()

    def at(self, stage: ExportStage, fraction: float, message: str) -> None:
        self.put(Progress(stage=stage, fraction=fraction, message=message))

    async def told(self, limit_s: float) -> None:
        """Wait until everything put so far is published, or for `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._told.wait()

    async def stop(self) -> None:
        """End after the word under way; a flag, because a cancellation can be lost inside a request that just succeeds."""
        self._stopping = True
        self._changed.set()
        self._moved.set()
        await self._task

    async def _publish(self) -> None:
        newest: Progress | None = None
        while not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_S):
                    await self._changed.wait()
            if self._stopping:
                return
            self._changed.clear()
            self._moved.clear()
            words = list(self._waiting.values()) or ([newest] if newest else [])
            self._waiting.clear()
            for newest in words:
                await self._send(newest)
            if not self._waiting:
                self._told.set()
            if self._stopping:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await self._moved.wait()

    async def _send(self, word: Progress) -> None:
        self._percent = max(self._percent, percent(word.stage, word.fraction))
        self._count += 1
        fact = ExportProgressedV1(
            job_id=self._run.request.job_id,
            attempt=self._run.attempt,
            stage=word.stage,
            percent=self._percent,
            message=printable(word.message, 300),
            worker_id=self._run.worker_id,
        )
        try:
            await self._bus.publish(fact, subject_id=fact.job_id, sequence=f"{fact.attempt}/{self._count}")
        except ModelportError as error:
            _log.warning("progress is not published: %s", error)


async def prove(bus: Bus, run: Run) -> None:
    """Show by compare-and-set that this attempt still holds its lease; raises LeaseLost where it does not."""
    key = run.lease
    bucket = await bus.kv(LEASES)
    for _ in range(FENCE_TRIES):
        try:
            entry = await bucket.get(key)
            record = msgspec.json.decode(entry.value or b"", type=LeaseRecord)
            if record.attempt != run.attempt or record.state != "running":
                raise LeaseLost(key)
            fresh = msgspec.structs.replace(record, heartbeat=time.time())
            await bucket.update(key, msgspec.json.encode(fresh), last=entry.revision)
        except nats.js.errors.KeyNotFoundError as error:
            raise LeaseLost(key) from error
        except nats.js.errors.KeyWrongLastSequenceError:
            continue  # the service's own heartbeat came between
        return
    raise LeaseLost(key)


async def state(bus: Bus, run: Run, fact: Event) -> None:
    """Publish the terminal fact; every retry of the same attempt has the same id. Raises LeaseLost, Transient."""
    await prove(bus, run)
    await bus.publish(fact, subject_id=run.subject_id, sequence=run.attempt)


def failed(
    run: ExportRun, error: ErrorInfo, *, log: ObjectRef | None = None, parity_report: ObjectRef | None = None
) -> ExportFailedV1:
    """The fact that this attempt has ended its job without an artefact."""
    return ExportFailedV1(
        job_id=run.request.job_id, attempt=run.attempt, error=error, log=log, parity_report=parity_report
    )
