"""Starts the programs of a stack stage by stage, keeps them, and takes them down in reverse."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from embedded import watchdog
from embedded.program import Program
from embedded.supervised import Supervised

Stage = tuple[Program, ...]


class Supervisor:
    """`prepare` runs when the first stage (the servers) is ready and the services have not started yet."""

    def __init__(
        self,
        stages: tuple[Stage, ...],
        *,
        logs: Path,
        stack_id: str,
        stack_file: Path,
        prepare: Callable[[], Awaitable[None]],
        told: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._stages = [
            [Supervised(program, logs / f"{program.name}.log", self._on_change) for program in stage]
            for stage in stages
        ]
        self._stack_id = stack_id
        self._stack_file = stack_file
        self._prepare = prepare
        self._told = told
        self._report = changed
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        return {item.program.name: item.pid for stage in self._stages for item in stage}

    async def start(self) -> None:
        """Everything ready, in order; on the first failure everything is taken down again and StartError raised."""
        watchdog.kill_all(self._stack_id, self._stack_file.parent)
        self._watchdog = _start_watchdog(self._stack_id, self._stack_file)
        try:
            for number, stage in enumerate(self._stages):
                async with asyncio.TaskGroup() as group:
                    for item in stage:
                        group.create_task(self._start_one(item))
                if number == 0:
                    await self._prepare()
        except BaseException as error:
            await self.stop()
            raise _first(error) from None

    async def stop(self) -> None:
        """Services first, servers last; nothing of the stack is left when this returns."""
        for stage in reversed(self._stages):
            await asyncio.gather(*(item.stop() for item in stage))
        watchdog.kill_all(self._stack_id, self._stack_file.parent)
        if self._watchdog is not None:
            self._watchdog.communicate(watchdog.CLEAN_END)
            self._watchdog = None

    async def _start_one(self, item: Supervised) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        await item.start()
        self._told(f"{item.program.name} is ready ({clock() - began:.1f} s)")

    def _on_change(self, line: str) -> None:
        if line:
            self._told(line)
        self._report()


def _first(error: BaseException) -> BaseException:
    """The failure that cancelled the others of its stage."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _start_watchdog(stack_id: str, stack_file: Path) -> subprocess.Popen[bytes]:
    """A process of its own session, so that neither Ctrl-C nor a kill of the supervisor's group reaches it."""
    command = [sys.executable, "-S", "-E", watchdog.__file__, stack_id, str(stack_file)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
