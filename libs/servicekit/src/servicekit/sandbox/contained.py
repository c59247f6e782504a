"""One command in a sandbox: started, held to its limits, ended with everything that it started."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

import msgspec

from servicekit import tasks
from servicekit.sandbox import seccomp, watch
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.bubblewrap import MIB, Limits, Sandbox
from servicekit.sandbox.job_dir import JobDir
from servicekit.sandbox.lifetime import Lifetime

MEMORY_PERIOD_S = 0.2
DISK_EVERY = 5
CHUNK = 64 * 1024
BEGIN_PATIENCE_S = 60.0


class Broken(StrEnum):
    """The limit that ended a command."""

    MEMORY = "memory"
    DISK = "disk"
    TIME = "time"
    PROCESSES = "processes"


class Contained(ABC):
    """A command, used once: `begin`, then `hold`; `kill` at any time ends every process of it.

    What it writes to standard error goes to `log`; what to do with its standard output is a subclass' to say.
    """

    def __init__(self, sandbox: Sandbox | Bare, job: JobDir, limits: Limits, log: BoundedLog) -> None:
        self._sandbox = sandbox
        self._job = job
        self._limits = limits
        self._log = log
        self._ended = asyncio.Event()
        self._broken: Broken | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._life: Lifetime | None = None
        self._begun: asyncio.Task[None] | None = None

    @abstractmethod
    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        """Read standard output to its end; the subclass sets `_ended`, which is what `hold` waits for."""

    @property
    def pid(self) -> int:
        """The sandbox' process outside; all others live below it."""
        assert self._process is not None
        return self._process.pid

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def exit_code(self) -> int | None:
        """Of the command, once it has ended; bubblewrap answers 128 + number for what a signal ended inside."""
        return self._process.returncode if self._process else None

    def limit_time(self, seconds: float) -> None:
        """Lower the time that `hold` allows; never raises it."""
        self._limits = msgspec.structs.replace(self._limits, wall_s=min(self._limits.wall_s, seconds))

    async def begin(self, command: Sequence[str]) -> None:
        """Start the command; OSError where the sandbox' own program cannot be started."""
        life = Lifetime()
        filters = {"--seccomp": _filter_fd()} if seccomp.is_supported() else {}
        descriptors = {**life.descriptors, **filters}
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
            asyncio.create_task(self._read_output(self._process.stdout)),
            asyncio.create_task(self._read_log(self._process.stderr)),
        ]
        self._begun = asyncio.create_task(life.begin())
        await asyncio.shield(self._begun)

    async def say(self, words: bytes) -> None:
        """Write to standard input, and close it."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(words)
            await self._process.stdin.drain()
            self._process.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            self._log.say("the command was gone before it began")

    async def hold(self) -> None:
        """Wait until it has ended or broken a limit, then `kill` what is left of it."""
        guard = asyncio.create_task(self._guard())
        try:
            async with asyncio.timeout(self._limits.wall_s):
                await self._ended.wait()
        except TimeoutError:
            self._broken = Broken.TIME
        finally:
            guard.cancel()
            await self.kill(grace_s=self._grace_s())

    def _grace_s(self) -> float:
        """How long a command that has said its last word may take to end by itself."""
        return 0.0

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
            await tasks.finish(self._kill_now())

    async def _kill_now(self) -> None:
        assert self._process is not None
        assert self._life is not None
        await self._reach_init()
        self._send_kill()
        await self._process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._life.ended.wait()

    async def _reach_init(self) -> None:
        """Wait until the sandbox' first process can be killed by name; what runs inside waits for that too."""
        if self._begun is not None:
            await asyncio.wait((self._begun,), timeout=BEGIN_PATIENCE_S)

    async def _guard(self) -> None:
        """Kill the command when it breaks a limit."""
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

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(CHUNK):
            self._log.write(chunk)


def _filter_fd() -> int:
    fd = os.memfd_create("filter")
    os.write(fd, seccomp.compile_filter())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
