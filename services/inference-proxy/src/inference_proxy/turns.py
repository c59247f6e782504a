"""A small thread pool whose free threads go to the users in turn: one user's queue is never in front of another's."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from uuid import UUID

P = ParamSpec("P")
T = TypeVar("T")

Waiters = deque[asyncio.Future[None]]


class Turns:
    """`run` from one event loop; `close` ends the threads. A thread is never idle while anybody waits."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: OrderedDict[UUID, Waiters] = OrderedDict()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, user_id: UUID, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` answers, in a thread, once it is this user's turn."""
        await self._turn(user_id)
        loop = asyncio.get_running_loop()
        running = self._pool.submit(work, *given, **named)
        running.add_done_callback(lambda _: _later(loop, self._pass_on))
        return await asyncio.wrap_future(running)

    async def _turn(self, user_id: UUID) -> None:
        if self._free:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give a thread that has become free to the first waiter of the user whose turn it is."""
        while self._waiting:
            user_id, waiters = self._waiting.popitem(last=False)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[user_id] = waiters
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


def _later(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(act)
