"""One plain call: run a command in a sandbox to its end, with folders to read, one to write, and limits."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.bubblewrap import Limits, Sandbox
from servicekit.sandbox.contained import CHUNK, Broken, Contained
from servicekit.sandbox.job_dir import JobDir


class Ended(Struct, frozen=True, kw_only=True):
    """How a command ended: its exit status (128 + number for a signal), the limit it broke, and both ends of what it wrote."""

    exit_code: int | None
    broken: Broken | None
    output: bytes
    errors: bytes

    @property
    def signal(self) -> signal.Signals | None:
        """What ended it, where that was a signal."""
        return signal_of(self.exit_code)


class _Command(Contained):
    """Keeps standard output as a second log."""

    def __init__(
        self, sandbox: Sandbox | Bare, job: JobDir, limits: Limits, log: BoundedLog, output: BoundedLog
    ) -> None:
        super().__init__(sandbox, job, limits, log)
        self._output = output

    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(CHUNK):
            self._output.write(chunk)

    async def to_end(self) -> tuple[int | None, Broken | None]:
        """Hold it until its process has ended."""
        waiting = asyncio.create_task(self._wait())
        try:
            await self.hold()
        finally:
            waiting.cancel()
        return self.exit_code, self._broken

    async def _wait(self) -> None:
        assert self._process is not None
        await self._process.wait()
        self._ended.set()


async def run(
    sandbox: Sandbox | Bare, command: Sequence[str], *, root: Path, reads: Sequence[Path] = (), limits: Limits
) -> Ended:
    """Run the command; no process in its sandbox is left afterwards, however this call ends.

    `root` is made where it is not there, and left to the caller: inside, `root`/job is /job, the current and the one writable folder.
    `reads` are seen under their own paths; the sandbox' user id must be able to read them. A cancelled call ends the command.
    """
    job = JobDir.create(root, sandbox.uid())
    log, output = BoundedLog(job.log, limits.log_bytes), BoundedLog(root / "output.txt", limits.log_bytes)
    contained = _Command(sandbox.showing(reads), job, limits, log, output)
    try:
        await contained.begin(command)
        await contained.say(b"")
        exit_code, broken = await contained.to_end()
    finally:
        await contained.kill()
        log.close()
        output.close()
    return Ended(exit_code=exit_code, broken=broken, output=output.path.read_bytes(), errors=log.path.read_bytes())


def signal_of(code: int | None) -> signal.Signals | None:
    """The signal behind an exit status; bubblewrap answers 128 + number for what died inside."""
    number = -code if code is not None and code < 0 else (code or 0) - 128
    try:
        return signal.Signals(number)
    except ValueError:
        return None
