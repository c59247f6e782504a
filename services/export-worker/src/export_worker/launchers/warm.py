"""Keeps warm runs ready while the worker has nothing to do, so that their imports never compete with a job."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from contracts.errors import ModelportError
from contracts.vocabulary import Framework
from servicekit import tasks

RETRY_S = 30.0
_log = logging.getLogger(__name__)


class WarmLauncher(Protocol):
    """A launcher that can prepare runs."""

    async def warm_up(self, framework: Framework) -> bool:
        """Have one warm run for the framework; False where its toolchain did not come up."""


class WarmKeeper:
    """After `delay_s` of idleness has one warm run made per framework, one after the other."""

    def __init__(
        self, launcher: WarmLauncher, frameworks: Sequence[Framework], is_idle: asyncio.Event, delay_s: float
    ) -> None:
        self._launcher = launcher
        self._frameworks = frameworks
        self._is_idle = is_idle
        self._delay_s = delay_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._frameworks:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)

    async def _keep(self) -> None:
        while True:
            await self._is_idle.wait()
            await asyncio.sleep(self._delay_s)
            if not self._is_idle.is_set():
                continue
            came_up = True
            for framework in self._frameworks:
                came_up = await self._warm(framework) and came_up
            await asyncio.sleep(self._delay_s if came_up else RETRY_S)

    async def _warm(self, framework: Framework) -> bool:
        try:
            came_up = await self._launcher.warm_up(framework)
        except (ModelportError, OSError) as error:
            _log.warning("no warm run for %s: %s", framework, error)
            return False
        if not came_up:
            _log.warning("no warm run for %s: its toolchain did not come up", framework)
        return came_up
