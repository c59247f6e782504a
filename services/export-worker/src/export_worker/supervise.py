"""How the service stands by a run that it has launched: waits for its end, reads what it left, leaves nothing of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.errors import ERRORS, ErrorInfo, Transient
from contracts.execution import Run
from export_worker.launchers import Launcher, RunHandle, RunState
from export_worker.room import Exit
from servicekit import tasks

POLL_S = 0.1


@asynccontextmanager
async def launched(launcher: Launcher, run: Run) -> AsyncIterator[RunHandle]:
    """The run for as long as the block takes; afterwards nothing of it is left."""
    handle = RunHandle(run.id)
    try:
        await tasks.finish(launcher.launch(run))
        yield handle
    finally:
        # half a clean-up would let one go on that nobody watches
        await tasks.finish(_clear(launcher, handle))


async def _clear(launcher: Launcher, handle: RunHandle) -> None:
    await launcher.cancel(handle)
    await launcher.forget(handle)


async def until_end(launcher: Launcher, handle: RunHandle, stop: asyncio.Event, limit_s: float) -> RunState:
    """Wait for the run's end; RUNNING where `stop` was set or it took too long."""
    ends_at = time.monotonic() + limit_s
    while (state := await launcher.poll(handle)) is RunState.RUNNING:
        try:
            async with asyncio.timeout(POLL_S):
                await stop.wait()
        except TimeoutError:
            if time.monotonic() < ends_at:
                continue
        return state
    return state


async def verdict(launcher: Launcher, handle: RunHandle, state: RunState) -> ErrorInfo:
    """The error of a run that has stated none; one that still runs is ended. Raises Transient where it must be tried again."""
    if state is RunState.RUNNING:
        await launcher.cancel(handle)
        return _error("step_timeout", "The run did not come to an end.")
    code = (await launcher.remains(handle)).exit_code
    if code == Exit.NO_SPACE:
        raise Transient("storage_full", "There is no space left on the worker's disk.")
    if code == Exit.TRY_AGAIN:
        raise Transient("unavailable", "the run could not reach the bus, the store or a sandbox")
    return _error("internal", f"The run ended with status {code} and without a result.", cause=str(state))


def _error(code: str, message: str, cause: str = "") -> ErrorInfo:
    return ErrorInfo(code=code, message=message, hint=ERRORS[code].hint, cause=cause)
