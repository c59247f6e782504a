"""Work that may become unwanted while it runs: who it is for, and how it is stopped."""

import asyncio
from collections.abc import Callable, Coroutine
from uuid import UUID


class Running:
    """The tasks at work, one for each owner."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    def stop(self, owner: UUID) -> None:
        """End what runs for this owner, if anything does; its `run` answers False where it is unwanted."""
        if task := self._tasks.get(owner):
            task.cancel()

    async def run(self, owner: UUID, work: Coroutine[None, None, None], is_unwanted: Callable[[], bool]) -> bool:
        """Await `work`; False where it was unwanted before or became so. A cancel from outside goes on to `work`.

        What still runs for the same owner is waited for, so that two never touch the same objects here.
        """
        if earlier := self._tasks.get(owner):
            await asyncio.wait({earlier})
        if is_unwanted():
            work.close()
            return False
        task = asyncio.create_task(work)
        self._tasks[owner] = task
        try:
            await task
        except asyncio.CancelledError:
            if is_unwanted() and task.done():
                return False
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            if self._tasks.get(owner) is task:
                del self._tasks[owner]
        return True
