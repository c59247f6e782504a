"""Requests per minute, exact over all proxies: one JetStream counter per user and UTC minute.

A request is admitted if the counter after its increment is not above the limit; otherwise the increment is given back.
So every admitted request has a number of its own up to the limit, whichever proxy it came through. Requests that arrive
together share one increment, and a user known to be at the limit is refused without asking.
Without NATS nothing is admitted (503): a limit that opens when its counter is away is no limit. Which minute it is, all
proxies know from the same clock (`clock.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from contracts.errors import Permanent, Transient
from inference_proxy.policy import Allowance, refused

WINDOW_S = 60

_log = logging.getLogger(__name__)


class CounterPort(Protocol):
    """A set of shared counters."""

    async def add(self, key: str, delta: int) -> int:
        """Add and answer the new value; Transient("unavailable") when no answer came."""
        ...


class _Window:
    """One user's running minute at this proxy."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.known = 0
        """At least this many were admitted by all proxies."""
        self.admitted = 0
        """By this proxy."""
        self.waiting: list[tuple[asyncio.Future[int | None], int]] = []
        self.asking: asyncio.Task[None] | None = None


class RateLimiter:
    """Minute limits of all users at this proxy."""

    def __init__(self, counter: CounterPort, now: Callable[[], float]) -> None:
        self._counter = counter
        self._now = now
        self._minute = -1
        self._windows: dict[UUID, _Window] = {}
        self._returns: set[asyncio.Task[None]] = set()

    def check(self, user_id: UUID, limit: int) -> None:
        """Without asking anybody: Permanent("rate_limited") where the user is known to be at the limit."""
        now = int(self._now())
        if self._window(user_id, now // WINDOW_S).known >= limit:
            raise _exceeded(limit, now)

    async def admit(self, user_id: UUID, limit: int) -> Allowance:
        """Count one request; Permanent("rate_limited") above `limit`, Transient("unavailable") without NATS."""
        self.check(user_id, limit)
        now = int(self._now())
        window = self._window(user_id, now // WINDOW_S)
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        window.waiting.append((future, limit))
        if window.asking is None:
            window.asking = asyncio.create_task(self._ask(window))
        place = await future
        if self._now() // WINDOW_S > now // WINDOW_S + 1:
            # counters do not live for ever: what a frozen proxy asked of an old one is worth nothing
            raise Transient("unavailable", "the rate limiter answered too late", headers={"Retry-After": "1"})
        if place is None:
            raise _exceeded(limit, now)
        return _allowance(limit, limit - place, now)

    def admitted(self) -> dict[str, int]:
        """What this proxy has admitted in the running minute, by counter."""
        return {window.key: window.admitted for window in self._windows.values() if window.admitted}

    def _window(self, user_id: UUID, minute: int) -> _Window:
        if minute != self._minute:
            self._minute = minute
            self._windows = {}
        window = self._windows.get(user_id)
        if window is None:
            window = self._windows[user_id] = _Window(f"{user_id.hex}.{minute}")
        return window

    async def _ask(self, window: _Window) -> None:
        """One increment for everybody who waits, again for those who came meanwhile."""
        try:
            while window.waiting:
                batch, window.waiting = window.waiting, []
                try:
                    value = await self._counter.add(window.key, len(batch))
                except Exception as error:
                    _fail(batch + window.waiting, error)
                    window.waiting = []
                    return
                self._share_out(window, batch, value)
        finally:
            window.asking = None

    def _share_out(self, window: _Window, batch: list[tuple["asyncio.Future[int | None]", int]], value: int) -> None:
        refused_count = 0
        highest = 0
        for place, (future, limit) in enumerate(batch, start=value - len(batch) + 1):
            granted = place <= limit
            refused_count += not granted
            window.admitted += granted
            highest = place if granted else max(highest, min(limit, place))
            if not future.done():
                future.set_result(place if granted else None)
        window.known = max(window.known, highest)
        if refused_count:
            task = asyncio.create_task(self._give_back(window.key, refused_count))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    async def _give_back(self, key: str, count: int) -> None:
        try:
            await self._counter.add(key, -count)
        except Exception as error:
            _log.warning("rate: %d refused requests stay counted: %s", count, error)


def _exceeded(limit: int, now: int) -> Permanent:
    message = f"All {limit} requests of this minute are used."
    return Permanent("rate_limited", message, headers=refused(_allowance(limit, 0, now)))


def _allowance(limit: int, remaining: int, now: int) -> Allowance:
    reset_s = WINDOW_S - now % WINDOW_S
    return Allowance(name="minute", limit=limit, window_s=WINDOW_S, remaining=remaining, reset_s=reset_s)


def _fail(batch: list[tuple["asyncio.Future[int | None]", int]], error: Exception) -> None:
    for future, _ in batch:
        if not future.done():
            future.set_exception(error)
