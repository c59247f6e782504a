"""Live progress: a job's stored events, replayed and then followed, over server-sent events.

Any replica serves any job: whoever folds a fact stores the event and notifies through PostgreSQL.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from uuid import UUID

import asyncpg
import msgspec

from gateway.store import jobs
from servicekit.postgres import UNREACHABLE, Pool, listens

RETRY_S = 0.5
ALIVE_S = 5.0
RECHECK_S = 1.0
GREETING = b": welcome\n\n"
KEEPALIVE = b": keep-alive\n\n"

_log = logging.getLogger(__name__)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What something is by now, as one event: its name, its data, and whether nothing follows by itself."""

    name: str
    data: msgspec.Struct
    is_settled: bool


class Progress:
    """Wakes whoever follows a job when one of its events has been committed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_ending = False

    @contextmanager
    def watch(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job may have news; clear it before looking."""
        news = asyncio.Event()
        key = str(job_id)
        self._watchers[key].add(news)
        try:
            yield news
        finally:
            self._watchers[key].discard(news)
            if not self._watchers[key]:
                del self._watchers[key]

    def end(self) -> None:
        """End every stream after what it is about to send: whoever follows a job comes back to another replica."""
        self.is_ending = True
        self._wake_all()

    async def run(self) -> None:
        """Listen until cancelled, through restarts of PostgreSQL."""
        while True:
            try:
                await self._listen()
            except (*UNREACHABLE, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("progress: PostgreSQL is away: %s: %s", type(error).__name__, error)
            self._wake_all()
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        """Returns when the listening connection is lost."""
        async with self._pool.acquire(timeout=10) as connection:
            await connection.add_listener(jobs.CHANNEL, self._on_notify)
            self._wake_all()
            try:
                while not connection.is_closed():
                    await asyncio.sleep(ALIVE_S)
                    await listens(connection)
            finally:
                if not connection.is_closed():
                    await connection.remove_listener(jobs.CHANNEL, self._on_notify)

    def _on_notify(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for news in self._watchers.get(str(payload), ()):
            news.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for news in watchers:
                news.set()


async def stream(
    pool: Pool, progress: Progress, job_id: UUID, *, after: int, is_over: bool, keepalive_s: float
) -> AsyncIterator[bytes]:
    """The events after `after` as they happen, ending after the terminal one; nothing but signs of life while PostgreSQL is away.

    `is_over`: the job was terminal when it was looked up, so what is stored is all there will ever be.
    """
    with progress.watch(job_id) as news:
        while True:
            news.clear()
            try:
                events = await jobs.events_after(pool, job_id, after)
            except (*UNREACHABLE, asyncpg.InterfaceError):
                if progress.is_ending:
                    return
                yield KEEPALIVE
                await asyncio.sleep(RETRY_S)
                continue
            for event in events:
                after = event.seq
                yield encode(event)
                if jobs.is_terminal_event(event.name):
                    return
            if len(events) == jobs.EVENTS_AT_ONCE:
                continue
            if is_over or progress.is_ending:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), keepalive_s)
            if not news.is_set():
                yield KEEPALIVE


async def states(
    progress: Progress, owner: UUID, look: Callable[[], Awaitable[State | None]], *, keepalive_s: float
) -> AsyncIterator[bytes]:
    """What something is, whenever that has changed: the newest state alone, ending with one that is settled or once it is gone."""
    told: State | None = None
    with progress.watch(owner) as news:
        while True:
            news.clear()
            try:
                state = await look()
            except (*UNREACHABLE, asyncpg.InterfaceError):
                state = told
            if state is None:
                return
            if state != told:
                told = state
                yield f"event: {state.name}\ndata: {msgspec.json.encode(state.data).decode()}\n\n".encode()
            if state.is_settled or progress.is_ending:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), keepalive_s)
            if not news.is_set():
                yield KEEPALIVE


async def permitted(
    content: AsyncIterator[bytes], place: AbstractContextManager[None], is_permitted: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """A greeting, then the stream for as long as it is permitted; holds `place`, and asks once a second at most.

    A database that is away cannot say no: the stream lives on, and is asked about again.
    """
    asked = time.monotonic()
    with place:
        yield GREETING
        async for part in content:
            if time.monotonic() - asked >= RECHECK_S:
                asked = time.monotonic()
                with suppress(*UNREACHABLE, asyncpg.InterfaceError):
                    if not await is_permitted():
                        return
            yield part


def encode(event: jobs.JobEvent) -> bytes:
    """One event in the format of the HTML standard (9.2.6); its id is the job's sequence number."""
    data = msgspec.json.encode({**event.data, "at": event.created_at}).decode()
    return f"id: {event.seq}\nevent: {event.name}\ndata: {data}\n\n".encode()
