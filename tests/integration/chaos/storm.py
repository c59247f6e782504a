"""SIGKILLs on everything in turn, one after so many jobs, each at a moment of its own."""

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.nemeses import processes
from tests.stack import Stack, until

TURN = (
    "gateway",
    "export-worker",
    "nats",
    "packager",
    "postgres",
    "deployer",
    "inference-proxy",
    "triton",
    "s3",
)
JITTER_S = 1.0
PROGRESS_LIMIT_S = 300.0


@dataclass(frozen=True)
class Fault:
    """A kill: who, when (monotonic seconds), and how long until the successor was ready."""

    name: str
    at: float
    ready_s: float


def rage(
    stack: Stack, kills: int, every: int, done: Callable[[], int], seed: int, before: Callable[[int], None]
) -> list[Fault]:
    """`kills` faults, each when `every` more jobs have ended since the one before and its victim was ready again.

    `before` hears the number of each fault shortly before it falls.
    """
    chance, faults = random.Random(seed), []
    for number, name in enumerate(itertools.islice(itertools.cycle(TURN), kills)):
        wait_for(done, done() + every)
        before(number)
        time.sleep(chance.uniform(0, JITTER_S))
        began = time.monotonic()
        processes.kill_and_wait(stack, name)
        faults.append(Fault(name, began, time.monotonic() - began))
    return faults


def wait_for(done: Callable[[], int], count: int) -> None:
    """Until so many jobs have ended."""
    until(lambda: done() >= count, PROGRESS_LIMIT_S, f"{count} jobs have ended")
