"""Runs one sandboxed step to its end: its words heard, its limits watched, its death explained."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import Struct

from contracts.errors import ErrorInfo
from contracts.vocabulary import ExportStage, Framework
from export_worker.sandbox import seccomp, watch
from export_worker.sandbox.bare import Bare
from export_worker.sandbox.bubblewrap import MIB, Limits, Sandbox
from export_worker.sandbox.job_dir import JobDir
from export_worker.sandbox.lifetime import Lifetime
from export_worker.sandbox.messages import MAX_LINE, Done, Failed, Progress, Ready, parse
from export_worker.sandbox.step_log import StepLog
from export_worker.sandbox.verdicts import Broken, explain

CHILD = (sys.executable, "-m", "export_worker.child")
MEMORY_PERIOD_S = 0.2
DISK_EVERY = 5
CHUNK = 64 * 1024
BEGIN_PATIENCE_S = 60.0

Heard = Callable[[Progress], None]


class Outcome(Struct, frozen=True, kw_only=True):
    """How a step ended: seconds per stage as it tells them, and the error unless it succeeded."""

    durations_s: dict[ExportStage, float] = {}
    error: ErrorInfo | None = None


class Step:
    """One child, used once: `start`, then `finish`; `kill` at any time ends every process of it."""

    def __init__(
        self, sandbox: Sandbox | Bare, job: JobDir, limits: Limits, log: StepLog, *, command: tuple[str, ...] = CHILD
    ) -> None:
        self._sandbox = sandbox
        self._job = job
        self._limits = limits
        self._log = log
        self._command = command
        self._heard: Heard = _ignore
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._last: Done | Failed | None = None
        self._stage = ExportStage.LOAD
        self._broken: Broken | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._life: Lifetime | None = None
        self._begun: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The sandbox' process outside; all others live below it."""
        assert self._process is not None
        return self._process.pid

    @property
    def limits(self) -> Limits:
        return self._limits

    def limit_time(self, seconds: float) -> None:
        """Lower the time that `finish` allows; never raises it."""
        self._limits = msgspec.structs.replace(self._limits, wall_s=min(self._limits.wall_s, seconds))

    async def start(self, framework: Framework, *, rehearse: bool = False) -> None:
        """Start the child; it imports the framework's toolchain, rehearses an export where nothing is in a hurry, and waits for `finish`."""
        life = Lifetime()
        filters = {"--seccomp": _filter_fd()} if seccomp.is_supported() else {}
        descriptors = {**life.descriptors, **filters}
        command = [*self._command, "--warm" if rehearse else "--cold", str(framework)]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._sandbox.argv(self._job.path, command, self._limits, descriptors),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=tuple(descriptors.values()),
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except BaseException:
            life.abandon()
            raise
        finally:
            for descriptor in descriptors.values():
                os.close(descriptor)
        self._life = life
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read_messages(self._process.stdout)),
            asyncio.create_task(self._read_log(self._process.stderr)),
        ]
        self._begun = asyncio.create_task(life.begin())
        await asyncio.shield(self._begun)

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
        await self._say_go()
        guard = asyncio.create_task(self._guard())
        try:
            async with asyncio.timeout(self._limits.wall_s):
                await self._ended.wait()
        except TimeoutError:
            self._broken = Broken.TIME
        finally:
            guard.cancel()
            await self.kill(grace_s=0.2 if self._last is not None else 0.0)
        return self._judge()

    async def kill(self, *, grace_s: float = 0.0) -> None:
        """End the sandbox and everything in it, and read what it has left in its pipes; idempotent."""
        if self._process is None:
            return
        assert self._life is not None
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self._reach_init()
            self._send_kill()
            await self._process.wait()
            await asyncio.gather(*self._readers, return_exceptions=True)
            await self._life.ended.wait()

    async def _reach_init(self) -> None:
        """Wait until the sandbox' first process can be killed by name; what runs inside waits for that too."""
        if self._begun is not None:
            await asyncio.wait((self._begun,), timeout=BEGIN_PATIENCE_S)

    async def _say_go(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"go\n")
            await self._process.stdin.drain()
            self._process.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            self._log.say("the step was gone before it began")

    async def _guard(self) -> None:
        """Kill the step when it breaks a limit."""
        looks = 0
        while True:
            looks += 1
            used = await asyncio.to_thread(watch.usage, self.pid)
            if used.tasks > self._limits.processes:
                self._end(Broken.PROCESSES, f"{used.tasks} processes and threads")
            if used.memory_bytes > self._limits.memory_bytes:
                self._end(Broken.MEMORY, f"{used.memory_bytes // MIB} MiB in {used.tasks} threads")
            if looks % DISK_EVERY == 0 and await self._is_disk_used_up():
                self._end(Broken.DISK, "the directory is over its limit or the disk is full")
            await asyncio.sleep(MEMORY_PERIOD_S)

    async def _is_disk_used_up(self) -> bool:
        return await asyncio.to_thread(watch.broken_disk_limit, self.pid, self._job.path, self._limits)

    def _end(self, limit: Broken, reason: str) -> None:
        if self._broken is None and self._process is not None and self._process.returncode is None:
            self._broken = limit
            self._log.say(f"killed: {limit} limit: {reason}")
            self._send_kill()

    def _send_kill(self) -> None:
        """To the first process inside and to bwrap; not by `Process.kill`, which may reap behind asyncio's back and lose the status."""
        if not self._sandbox.isolates:
            for pid in watch.tree(self.pid)[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._life is not None:
            self._life.kill()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _read_messages(self, stream: asyncio.StreamReader) -> None:
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

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(CHUNK):
            self._log.write(chunk)

    def _judge(self) -> Outcome:
        if self._broken is None and isinstance(self._last, Done):
            return Outcome(durations_s=self._last.durations_s)
        told = self._last if isinstance(self._last, Failed) else None
        code = self._process.returncode if self._process else None
        error = explain(self._limits, broken=self._broken, told=told, exit_code=code)
        error = msgspec.structs.replace(error, stage=error.stage or str(self._stage))
        self._log.say(f"{error.code}: {error.message}")
        return Outcome(error=error)


def _filter_fd() -> int:
    fd = os.memfd_create("filter")
    os.write(fd, seccomp.compile_filter())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _ignore(_: Progress) -> None:
    return None
