"""Ends background tasks for certain."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

PATIENCE_S = 0.25
R = TypeVar("R")


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks and wait until each is done; their results and errors are dropped.

    One `cancel` is not enough on Python 3.11: `asyncio.wait_for`, which nats-py awaits its answers with, swallows a cancellation that
    arrives together with the answer (fixed in 3.12), and a loop around it would then go on for ever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=PATIENCE_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def finish(work: Coroutine[Any, Any, R]) -> R:
    """The answer of `work`, which runs to its end however often the waiting task is cancelled, as `end` does; only then is that heeded."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and not task.cancelled() and task.exception() is None:
        raise asyncio.CancelledError
    return task.result()
