"""One program under supervision: start, readiness, restart with back-off, clean stop."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from embedded.ports import owner, taken
from embedded.program import NotReady, Program, StartError
from servicekit.servers import ServerCommand

PORT_PATIENCE_S = 8.0
PROBE_INTERVAL_S = 0.1
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
STABLE_AFTER_S = 30.0
TAIL_LINES = 15
LOG_ROTATE_BYTES = 10 * 1024 * 1024


class Supervised:
    """Keeps one program running from `start` to `stop`; `changed` is called whenever its process is another one."""

    def __init__(self, program: Program, log: Path, changed: Callable[[str], None]) -> None:
        self.program = program
        self.log = log
        self.restarts = 0
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Return when the program is ready; StartError says why it is not and shows the end of its log."""
        _rotate(self.log)
        await self._demand_ports(patience_s=0.5)
        self.program.clear()
        for command in self.program.before:
            await self._run_to_end(command)
        process = await self._spawn()
        await self._until_ready(process)
        self._keeper = asyncio.create_task(self._keep(process), name=f"keep {self.program.name}")

    async def stop(self) -> None:
        """Ask, wait, and kill the process group if it does not listen; safe to call in any state."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal_group(process.pid, signal.Signals[self.program.stop_signal], group=False)
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_grace_s)
        except TimeoutError:
            self._note(f"did not stop within {self.program.stop_grace_s:g} s, killed")
        _signal_group(process.pid, signal.SIGKILL, group=True)
        await process.wait()

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        attempt = 0
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            began = clock()
            code = await process.wait()
            if self._stopping:
                return
            attempt = 0 if clock() - began > STABLE_AFTER_S else attempt
            pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            attempt += 1
            self.restarts += 1
            self._note(f"ended with {_outcome(code)}, restart {self.restarts} in {pause:g} s")
            self._changed(f"{self.program.name} ended with {_outcome(code)}; starting it again in {pause:g} s")
            _signal_group(process.pid, signal.SIGKILL, group=True)
            await asyncio.sleep(pause)
            await taken(self.program.ports, PORT_PATIENCE_S)
            process = await self._spawn()
            self._changed("")

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                cwd=self.program.cwd,
                env=self.program.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        clock = asyncio.get_running_loop().time
        until, last = clock() + self.program.start_limit_s, "no answer"
        while clock() < until:
            if process.returncode is not None:
                raise self._failed(f"ended with {_outcome(process.returncode)} before it was ready")
            try:
                await self.program.ready()
                return
            except NotReady as error:
                last = str(error)
            await asyncio.sleep(PROBE_INTERVAL_S)
        raise self._failed(f"not ready after {self.program.start_limit_s:g} s ({last})")

    async def _run_to_end(self, command: ServerCommand) -> None:
        with self.log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *command.argv, cwd=command.cwd, env=self.program.env, stdout=out, stderr=asyncio.subprocess.STDOUT
            )
        if await process.wait() != 0:
            raise self._failed(f"'{command.name}' ended with {_outcome(process.returncode or 0)}")

    async def _demand_ports(self, patience_s: float) -> None:
        busy = await taken(self.program.ports, patience_s)
        if busy:
            raise StartError(
                self.program.name,
                f"port {busy[0]} is in use by {owner(busy[0])}",
                "stop that process, or choose other ports with MODELPORT_PORT_BASE (a number such as 19000)",
            )

    def _failed(self, reason: str) -> StartError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        tail = "".join(f"\n    {line}" for line in lines[-TAIL_LINES:])
        return StartError(
            self.program.name, f"{reason}; the end of its log:{tail}", f"read the whole log in {self.log}"
        )

    def _note(self, line: str) -> None:
        with self.log.open("a") as out:
            out.write(f"--- supervisor: {self.program.name} {line}\n")


def _signal_group(pid: int, number: signal.Signals, *, group: bool) -> None:
    """The program leads its own session, so its pid is its group; a dead one is no error."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _outcome(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_ROTATE_BYTES:
        log.replace(log.with_name(log.name + ".1"))
