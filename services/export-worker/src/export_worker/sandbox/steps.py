"""Runs one sandboxed step to its end: its words heard, its death explained."""

import asyncio
import sys
from collections.abc import Callable

import msgspec
from msgspec import Struct

from contracts.errors import ErrorInfo
from contracts.vocabulary import ExportStage, Framework
from export_worker.sandbox.messages import MAX_LINE, Done, Failed, Progress, Ready, parse
from export_worker.sandbox.verdicts import explain
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.bubblewrap import Limits, Sandbox
from servicekit.sandbox.contained import CHUNK, Contained
from servicekit.sandbox.job_dir import JobDir

CHILD = (sys.executable, "-m", "export_worker.child")
LAST_WORD_GRACE_S = 0.2

Heard = Callable[[Progress], None]


class Outcome(Struct, frozen=True, kw_only=True):
    """How a step ended: seconds per stage as it tells them, and the error unless it succeeded."""

    durations_s: dict[ExportStage, float] = {}
    error: ErrorInfo | None = None


class Step(Contained):
    """One child, used once: `start`, then `finish`; `kill` at any time ends every process of it."""

    def __init__(
        self, sandbox: Sandbox | Bare, job: JobDir, limits: Limits, log: BoundedLog, *, command: tuple[str, ...] = CHILD
    ) -> None:
        super().__init__(sandbox, job, limits, log)
        self._command = command
        self._heard: Heard = _ignore
        self._ready = asyncio.Event()
        self._last: Done | Failed | None = None
        self._stage = ExportStage.LOAD

    async def start(self, framework: Framework, *, rehearse: bool = False) -> None:
        """Start the child; it imports the framework's toolchain, rehearses an export where nothing is in a hurry, and waits for `finish`."""
        await self.begin([*self._command, "--warm" if rehearse else "--cold", str(framework)])

    async def ready(self) -> bool:
        """Wait until the toolchain is imported; False where the child ended instead."""
        waits = [asyncio.create_task(self._ready.wait()), asyncio.create_task(self._ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        return self._ready.is_set() and not self._ended.is_set()

    async def finish(self, heard: Heard) -> Outcome:
        """Tell the child to go, hear it to the end, and explain how it ended; no process of it is left afterwards."""
        self._heard = heard
        await self.say(b"go\n")
        await self.hold()
        return self._judge()

    def _grace_s(self) -> float:
        return LAST_WORD_GRACE_S if self._last is not None else 0.0

    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        pending = b""
        try:
            while chunk := await stream.read(CHUNK):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._hear(line)
                if len(pending) > MAX_LINE:
                    self._log.write(pending)
                    pending = b""
            self._hear(pending)
        finally:
            self._ended.set()

    def _hear(self, line: bytes) -> None:
        """Act on one line; after the last word nothing more is believed."""
        message = parse(line) if len(line) <= MAX_LINE and self._last is None else None
        match message:
            case Progress():
                self._stage = message.stage
                self._heard(message)
            case Done() | Failed():
                self._last = message
                self._ended.set()
            case Ready():
                self._ready.set()
            case None if line.strip():
                self._log.write(line + b"\n")

    def _judge(self) -> Outcome:
        if self._broken is None and isinstance(self._last, Done):
            return Outcome(durations_s=self._last.durations_s)
        told = self._last if isinstance(self._last, Failed) else None
        error = explain(self._limits, broken=self._broken, told=told, exit_code=self.exit_code)
        error = msgspec.structs.replace(error, stage=error.stage or str(self._stage))
        self._log.say(f"{error.code}: {error.message}")
        return Outcome(error=error)


def _ignore(_: Progress) -> None:
    return None
