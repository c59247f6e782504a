"""Waits for a server that is not there yet, so that services may start in any order."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from contracts.errors import Transient

START_PATIENCE_S = 60.0
_RETRY_S = 0.2

_log = logging.getLogger(__name__)
R = TypeVar("R")


async def patiently(
    action: Callable[[], Awaitable[R]], server: str, away: tuple[type[BaseException], ...], patience_s: float
) -> R:
    """Repeat `action` while it raises one of `away`; Transient `unavailable` naming the server when patience ends.

    The cause is logged and not part of the sentence, which clients may read.
    """
    deadline = time.monotonic() + patience_s
    told = False
    while True:
        try:
            return await action()
        except away as error:
            cause = f"{type(error).__name__}: {error}"
            if time.monotonic() >= deadline:
                _log.warning("gave up waiting for %s: %s", server, cause)
                if isinstance(error, Transient):
                    raise
                raise Transient("unavailable", f"{server} does not answer") from error
            if not told:
                _log.warning("waiting for %s: %s", server, cause)
                told = True
        await asyncio.sleep(_RETRY_S)
