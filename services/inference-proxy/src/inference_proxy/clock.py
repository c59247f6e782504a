"""The time that all proxies share: PostgreSQL's, carried forward by a clock that nobody can set.

A proxy's own wall clock decides nothing: whoever steps it moves neither a minute nor a month. Each answer of the database
bounds the difference between its clock and ours (it was read after the question left and before the answer came); the
bounds of all answers are intersected. Asking is also how a proxy tells that it lives: one that has not been heard of
for `VALID_S` admits nothing any more.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from contracts.errors import Transient

VALID_S = 600.0
DRIFT = 2e-4
"""How much two good clocks disagree a second."""

_log = logging.getLogger(__name__)


class TimePort(Protocol):
    """Who knows the time; see `inference_proxy.ledger.Ledger`."""

    async def attend(self, valid_s: float) -> float: ...


def elapsed() -> float:
    """Seconds of this machine, counted through its sleep; only differences mean something."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedClock:
    """`sync` at the start and every few seconds; `now` in between."""

    def __init__(self, source: TimePort, elapsed: Callable[[], float] = elapsed) -> None:
        self.elapsed = elapsed
        self._source = source
        self._bounds: tuple[float, float] | None = None
        self._asked = 0.0

    async def sync(self) -> None:
        """Ask; Transient("unavailable") while the database is away, and then time goes on as it was known."""
        asked = self.elapsed()
        told = await self._source.attend(VALID_S)
        answered = self.elapsed()
        low, high = told - answered, told - asked
        if self._bounds is not None:
            drift = (answered - self._asked) * DRIFT
            known_low, known_high = self._bounds[0] - drift, self._bounds[1] + drift
            if max(low, known_low) <= min(high, known_high):
                low, high = max(low, known_low), min(high, known_high)
            else:
                _log.warning("the clock of the database was set by %.3f s", low - known_low)
        self._bounds, self._asked = (low, high), asked

    def now(self) -> float:
        """Unix time; Transient("unavailable") when the database has been away for too long."""
        here = self.elapsed()
        if self._bounds is None or here - self._asked > VALID_S:
            raise Transient("unavailable", "The proxy has lost touch with the ledger.", headers={"Retry-After": "2"})
        return here + sum(self._bounds) / 2
