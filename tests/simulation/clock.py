"""Virtual time and processes that can die or be stopped at every one of their dealings with a server."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

EPOCH = 1_800_000_000.0
R = TypeVar("R")
RUNNING: ContextVar["Process | None"] = ContextVar("RUNNING", default=None)


class Stuck(Exception):
    """Nothing will ever happen again."""


class Loop(asyncio.BaseEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self.set_task_factory(_into_its_process)
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise Stuck
        self._now += timeout
        return []

    def _process_events(self, events: list[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _into_its_process(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    process = RUNNING.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
    return task


class Clock:
    """Stands in for the module `time` wherever decisions depend on it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def time(self) -> float:
        return EPOCH + self._loop.time()


@dataclass
class Weather:
    """How bad the world is just now; probabilities per dealing, latencies in seconds."""

    rng: Random
    crash: float = 0.0
    lost: float = 0.0
    slow: float = 0.1
    reorder: float = 0.0
    redeliver: float = 0.0

    def clear(self) -> None:
        self.crash = self.lost = self.reorder = self.redeliver = 0.0

    def strikes(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability


@dataclass(eq=False)
class Process:
    """One process of a service: its tasks, and the gate that all its dealings go through."""

    name: str
    weather: Weather
    tell: Callable[[str], None]
    is_alive: bool = True
    stopped_until: float = 0.0
    tasks: dict["asyncio.Task[Any]", None] = field(default_factory=dict)

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
        """Run `main` and all tasks that it makes as this process."""
        token = RUNNING.set(self)
        try:
            return asyncio.get_running_loop().create_task(main())
        finally:
            RUNNING.reset(token)

    def kill(self) -> None:
        """kill -9: what runs ends where it is, and nothing that it still tries reaches a server."""
        if self.is_alive:
            self.is_alive = False
            for task in tuple(self.tasks):
                task.cancel()

    async def deal(self, effect: Callable[[], R], lost: type[Exception], what: str = "") -> R:
        """One dealing with a server: late, stopped, lost before or after its effect, or this process' last one."""
        weather, loop = self.weather, asyncio.get_running_loop()
        if weather.strikes(weather.slow):
            await asyncio.sleep(weather.rng.expovariate(10.0))
        while self.stopped_until > loop.time():
            await asyncio.sleep(self.stopped_until - loop.time())
        await self._may_die(what, "before")
        if weather.strikes(weather.lost):
            raise lost()
        answer = effect()
        await self._may_die(what, "after")
        if weather.strikes(weather.lost):
            raise lost()
        return answer

    async def _may_die(self, what: str, when: str) -> None:
        if self.is_alive and self.weather.strikes(self.weather.crash):
            self.tell(f"{self.name} dies {when} {what}")
            self.kill()
        if not self.is_alive:
            raise asyncio.CancelledError
