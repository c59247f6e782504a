"""Keeps a warm run waiting for the next job: its imports run beside the job before, at a low priority."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from contracts.errors import ModelportError
from contracts.vocabulary import Framework
from servicekit import tasks

LONGEST_RETRY_S = 30.0
_log = logging.getLogger(__name__)


class WarmLauncher(Protocol):
    """A launcher that can prepare runs."""

    async def warm_up(self, framework: Framework) -> bool:
        """Have one warm run for the framework; False where its toolchain did not come up."""


class WarmKeeper:
    """Every `delay_s` has a warm run made for each framework that lacks one; after failures waits longer and longer."""

    def __init__(self, launcher: WarmLauncher, frameworks: Sequence[Framework], delay_s: float) -> None:
        self._launcher = launcher
        self._frameworks = frameworks
        self._delay_s = delay_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._frameworks:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)

    async def _keep(self) -> None:
        wait_s = self._delay_s
        while True:
            await asyncio.sleep(wait_s)
            came_up = [await self._warm(framework) for framework in self._frameworks]
            wait_s = self._delay_s if all(came_up) else min(max(2 * wait_s, self._delay_s), LONGEST_RETRY_S)

    async def _warm(self, framework: Framework) -> bool:
        try:
            came_up = await self._launcher.warm_up(framework)
        except (ModelportError, OSError) as error:
            _log.warning("no warm run for %s: %s", framework, error)
            return False
        if not came_up:
            _log.warning("no warm run for %s: its toolchain did not come up", framework)
        return came_up
