"""One seed: people, services and misfortune for some minutes, then fair weather until everything has come to its end."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import deployer.reconciler
import export_worker.facts
import export_worker.reactions
import export_worker.supervise
import packager.cancellations
import packager.reactions
import servicekit.jobs
import servicekit.leases
import servicekit.patience
from contracts.subjects import LEASES

from . import people
from .clock import Clock, Loop, Process, Stuck, Weather
from .readers import SimPull
from .rows import STAND_INS
from .services import SERVICES
from .world import World

BAD_S, SETTLE_S, LIMIT_S = 90.0, 45.0, 20_000.0
CLOCKED: tuple[Any, ...] = (
    deployer.reconciler,
    export_worker.facts,
    export_worker.reactions,
    export_worker.supervise,
    packager.cancellations,
    packager.reactions,
    servicekit.leases,
    servicekit.patience,
)
Mutation = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a seed has shown: the first broken promise, if any, and its story line by line."""

    seed: int
    broken: str
    story: tuple[str, ...]


def run(seed: int, mutation: Mutation = nullcontext) -> Outcome:
    """Play one seed; the same seed is the same story. `mutation` breaks the code for as long as its context lasts."""
    rng, loop, lines = Random(seed), Loop(), []
    with stand_ins(loop, rng), mutation():
        scene = Scene(rng, lambda line: lines.append(f"{loop.time():9.3f} {line}"))
        try:
            loop.run_until_complete(scene.play())
        except Stuck:
            scene.world.promises.broken.append("everything waits for something that will never happen")
        finally:
            _end(loop, scene)
    return Outcome(seed=seed, broken=next(iter(scene.world.promises.broken), ""), story=tuple(lines))


def _end(loop: Loop, scene: "Scene") -> None:
    for process in scene.processes.values():
        process.kill()
    for _ in range(20):
        if not (left := asyncio.all_tasks(loop)):
            break
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(1))
    loop.close()


class Scene:
    """The cast and the director."""

    def __init__(self, rng: Random, tell: Callable[[str], None]) -> None:
        self._rng = rng
        self._tell = tell
        self.processes: dict[str, Process] = {}
        self.weather = Weather(
            rng,
            crash=rng.choice((0.0, 0.003, 0.01)),
            lost=rng.choice((0.0, 0.02, 0.06)),
            slow=rng.choice((0.1, 0.3)),
            reorder=rng.choice((0.0, 0.5)),
            redeliver=rng.choice((0.0, 0.15)),
        )

    async def play(self) -> None:
        self.world = World(self._rng, self._tell)
        crowd = Process("people", Weather(self._rng), self._tell)
        supervisors = [asyncio.create_task(self._supervise(name)) for name in SERVICES]
        visits = [asyncio.create_task(visit) for visit in people.visits(crowd, self.world)]
        nemesis = asyncio.create_task(self._strike())
        await asyncio.sleep(BAD_S)
        self.weather.clear()
        await asyncio.gather(nemesis, *visits)
        self._tell("fair weather")
        await self._settle()
        if not self.world.promises.broken:
            self.world.promises.at_the_end()
        for task in supervisors:
            task.cancel()

    async def _settle(self) -> None:
        promises, loop = self.world.promises, asyncio.get_running_loop()
        while not promises.is_settled() and not promises.broken and loop.time() < LIMIT_S:
            await asyncio.sleep(10)
        await asyncio.sleep(SETTLE_S)

    async def _supervise(self, name: str) -> None:
        """Start the service, and another one in the place of each that dies."""
        while True:
            process = self.processes[name] = Process(name, self.weather, self._tell)
            main = process.start(lambda process=process: SERVICES[name](process, self.world))
            while process.is_alive:
                await asyncio.sleep(1.0)
                if main.done() and not main.cancelled() and (error := main.exception()) is not None:
                    self.world.promises.broken.append(f"{name} has no chance: {error!r}")
                    return
            await asyncio.sleep(self._rng.uniform(0.2, 3.0))

    async def _strike(self) -> None:
        """Misfortunes that have a moment of their own."""
        rng = self._rng
        blows: list[Callable[[], object]] = [self._stop] * rng.randint(0, 3)
        blows += [self.world.loaded.clear] * rng.randint(0, 1)
        blows += [lambda: self.world.broker.lose("EXPORT")] * (rng.random() < 0.25)
        blows += [lambda: self.world.broker.lose("DEPLOYMENT")] * (rng.random() < 0.2)
        blows += [lambda: self.world.broker.lose(LEASES)] * (rng.random() < 0.3)
        rng.shuffle(blows)
        for blow in blows:
            await asyncio.sleep(rng.uniform(1.0, BAD_S / len(blows)))
            blow()

    def _stop(self) -> None:
        """SIGSTOP, and SIGCONT past every lease."""
        process = self.processes[self._rng.choice(list(SERVICES))]
        process.stopped_until = asyncio.get_running_loop().time() + self._rng.uniform(5.0, 40.0)
        self._tell(f"{process.name} is stopped until {process.stopped_until:.1f}")


@contextmanager
def stand_ins(loop: Loop, rng: Random) -> Iterator[None]:
    """The services' modules with this simulation's clock, chance, tables and consumers in their places."""
    clock: Any = Clock(loop)
    scratch = SimpleNamespace(TemporaryDirectory=lambda **_: nullcontext("/nowhere"))
    with ExitStack() as stack:
        for module, names in STAND_INS.items():
            for name, double in names.items():
                stack.enter_context(patch.object(module, name, double))
        for module in CLOCKED:
            stack.enter_context(patch.object(module, "time", clock))
        stack.enter_context(patch.object(os, "urandom", rng.randbytes))
        stack.enter_context(patch.object(servicekit.jobs, "PullConsumer", SimPull))
        stack.enter_context(patch.object(packager.reactions, "tempfile", scratch))
        stack.enter_context(patch.object(export_worker.supervise, "POLL_S", 1.0))
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        yield
