"""Jobs that their owners have cancelled: what has not begun is dropped, what runs is stopped."""

import time
from collections.abc import Coroutine
from uuid import UUID

from contracts.envelope import EventMeta
from contracts.events import ExportCancelledV1
from packager.running import Running

_KEEP_S = 25 * 3600.0


class Cancellations:
    """Remembers cancellations for a day and ends the running task of a job."""

    def __init__(self) -> None:
        self._cancelled: dict[UUID, float] = {}
        self._running = Running()

    async def on_cancelled(self, event: ExportCancelledV1, _meta: EventMeta) -> None:
        """Handler of `servicekit.replay.follow`."""
        now = time.monotonic()
        self._cancelled = {job: at for job, at in self._cancelled.items() if now - at < _KEEP_S}
        self._cancelled[event.job_id] = now
        self._running.stop(event.job_id)

    async def run(self, job_id: UUID, work: Coroutine[None, None, None]) -> bool:
        """Await `work`; False where the job was cancelled before or meanwhile. A cancel from outside goes on to `work`."""
        return await self._running.run(job_id, work, lambda: job_id in self._cancelled)
