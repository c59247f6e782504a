"""Jobs that their owners have cancelled: what has not begun is dropped, what runs is stopped."""

import asyncio
import time
from collections.abc import Coroutine
from uuid import UUID

from contracts.envelope import EventMeta
from contracts.events import ExportCancelledV1

_KEEP_S = 25 * 3600.0


class Cancellations:
    """Remembers cancellations for a day and ends the running task of a job."""

    def __init__(self) -> None:
        self._cancelled: dict[UUID, float] = {}
        self._running: dict[UUID, asyncio.Task[None]] = {}

    async def on_cancelled(self, event: ExportCancelledV1, _meta: EventMeta) -> None:
        """Handler of `servicekit.replay.follow`."""
        now = time.monotonic()
        self._cancelled = {job: at for job, at in self._cancelled.items() if now - at < _KEEP_S}
        self._cancelled[event.job_id] = now
        if task := self._running.get(event.job_id):
            task.cancel()

    async def run(self, job_id: UUID, work: Coroutine[None, None, None]) -> bool:
        """Await `work`; False where the job was cancelled before or meanwhile. A cancel from outside goes on to `work`."""
        if job_id in self._cancelled:
            work.close()
            return False
        task = asyncio.create_task(work)
        self._running[job_id] = task
        try:
            await task
        except asyncio.CancelledError:
            if job_id in self._cancelled and task.done():
                return False
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            self._running.pop(job_id, None)
        return True
