"""The frame of a service's process: the event loop, a stop asked for by SIGTERM or Ctrl-C, and errors told in one sentence."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from contracts.errors import ModelportError
from servicekit import telemetry
from servicekit.telemetry import Telemetry

ENDED_AT_ONCE = 128 + signal.SIGTERM

_log = logging.getLogger(__name__)


def run(service: str, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on uvloop where it is installed, else on asyncio's own loop; an error of ours ends the process with its sentence and hint."""
    try:
        _run(main)
    except ModelportError as error:
        sys.exit(f"{service}: {error.message} {error.hint}")


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def hold(service: str, start: Callable[[Telemetry], AbstractAsyncContextManager[object]]) -> None:
    """Keep open what `start` makes, until the process is asked to stop."""
    stop = stop_event()
    tracing = telemetry.setup(service)
    try:
        async with start(tracing):
            await stop.wait()
    finally:
        tracing.shutdown()


def stop_event() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT from now on; call it inside the running loop, wait on it, then clean up."""
    event = asyncio.Event()
    on_stop(event.set)
    return event


def on_stop(ask: Callable[[], None]) -> None:
    """Call `ask` at the first SIGTERM or SIGINT; a second one ends the process where it is.

    That is safe: whatever a process does is made to survive `kill -9`. Whoever sends two signals has waited enough.
    """
    asked = False

    def heed() -> None:
        nonlocal asked
        if asked:
            _log.warning("asked to stop again: ending at once")
            os._exit(ENDED_AT_ONCE)
        asked = True
        _log.info("asked to stop")
        ask()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed)
