"""Preflights as the service sees them: answered from what is kept for the same user, or by a run of their own."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import msgspec

from contracts import keys
from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo, ModelportError
from contracts.events import PreflightAnsweredV1, PreflightRequestedV1
from contracts.execution import PreflightRun
from export_worker import facts, kept
from export_worker.launchers import Launcher, RunState
from export_worker.settings import WorkerSettings
from export_worker.supervise import launched, until_end, verdict
from servicekit import telemetry
from servicekit.bus import Bus
from servicekit.jobs import Exhausted
from servicekit.leases import Lease
from servicekit.objects import ObjectStore

STALE = timedelta(minutes=15)
"""Nobody waits any more for the answer to an older request: the gateway has given it up."""
EXTRA_S = 300.0
"""What a run may take beside its step: imports on a busy machine, fetching, storing."""
_log = logging.getLogger(__name__)


class Preflights:
    """Handlers of the consumer of preflights."""

    def __init__(self, launcher: Launcher, bus: Bus, store: ObjectStore, worker: WorkerSettings) -> None:
        self._launcher = launcher
        self._bus = bus
        self._store = store
        self._worker = worker
        self._toolchain = kept.toolchain_digest(worker)

    async def on_preflight_requested(self, event: PreflightRequestedV1, meta: EventMeta, lease: Lease) -> None:
        """Have the preflight answered; Transient where it must be tried again."""
        if datetime.now(UTC) - meta.time > STALE:
            _log.info("preflight %s is too old", event.preflight_id)
            return
        began = time.monotonic()
        keep_as = await self._key(event)
        answer = await self._recall(event, keep_as, began) if keep_as else None
        run = self._run(event, lease.attempt, keep_as)
        if answer is not None:
            await facts.state(self._bus, run, answer)
            return
        async with launched(self._launcher, run) as handle:
            limit_s = self._worker.preflight_timeout_s + EXTRA_S
            state = await until_end(self._launcher, handle, asyncio.Event(), limit_s)
            if state is not RunState.SUCCEEDED:
                error = await verdict(self._launcher, handle, state)
                await facts.state(self._bus, run, refused(event, error, time.monotonic() - began))

    async def on_exhausted(self, event: PreflightRequestedV1, reason: Exhausted) -> None:
        """State that the preflight is given up."""
        error = ErrorInfo(**{name: getattr(reason, name) for name in ErrorInfo.__struct_fields__})
        await self._bus.publish(refused(event, error), subject_id=event.preflight_id, sequence=reason.attempt)

    async def _key(self, event: PreflightRequestedV1) -> str:
        """Where the answer to this very question is kept; empty where the checkpoint cannot be told from another."""
        try:
            digest = await kept.digest(self._store, event, self._toolchain)
        except ModelportError as error:
            _log.info("preflight %s: nothing is kept: %s", event.preflight_id, error)
            return ""
        return keys.preflight(event.user_id, digest)

    async def _recall(self, event: PreflightRequestedV1, key: str, began: float) -> PreflightAnsweredV1 | None:
        found = await kept.recall(self._store, key)
        if found is None:
            return None
        return msgspec.structs.replace(
            found,
            preflight_id=event.preflight_id,
            user_id=event.user_id,
            cached=True,
            duration_s=round(time.monotonic() - began, 3),
        )

    def _run(self, event: PreflightRequestedV1, attempt: int, keep_as: str) -> PreflightRun:
        headers: dict[str, str] = {}
        telemetry.inject(headers)
        return PreflightRun(
            request=event,
            attempt=attempt,
            worker_id=self._worker.id,
            traceparent=headers.get("traceparent", ""),
            keep_as=keep_as,
        )


def refused(event: PreflightRequestedV1, error: ErrorInfo, duration_s: float = 0.0) -> PreflightAnsweredV1:
    """The answer where nothing can be foreseen."""
    return PreflightAnsweredV1(
        preflight_id=event.preflight_id, user_id=event.user_id, error=error, duration_s=round(duration_s, 3)
    )
