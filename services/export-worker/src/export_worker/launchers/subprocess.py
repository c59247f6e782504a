"""Runs as child processes of the worker: own process group, clean environment, death with the worker."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec import Struct

from contracts.execution import Run
from contracts.vocabulary import Framework
from export_worker.launchers import Remains, RunHandle, RunState
from export_worker.launchers.politeness import NORMAL, POLITE, set_niceness
from export_worker.room import RUN_DIR, Exit
from export_worker.run import PARENT
from export_worker.settings import RUN_SETTINGS
from servicekit import tasks
from servicekit.sandbox import watch
from servicekit.sandbox.job_dir import LOG
from servicekit.workplace import delete

COMMAND = (sys.executable, "-m", "export_worker.run")
SYSTEM = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
OWN = ("log_level", "log_format", *(name for kind in RUN_SETTINGS for name in kind.__struct_fields__))
INHERITED = frozenset((*SYSTEM, *(f"MODELPORT_{name.upper()}" for name in OWN)))
TRACING = "OTEL_"
READY_PATIENCE_S = 120.0
STANDARD_ERROR = 2
POLITE_PERIOD_S = 0.1
_log = logging.getLogger(__name__)


class Child(Struct, kw_only=True, eq=False):
    """One process of ours and its folder."""

    process: asyncio.subprocess.Process
    root: Path
    is_ready: bool = False


class SubprocessLauncher:
    """Keeps at most one warm run per framework: a process that has imported its toolchain and knows no job yet.

    A warm run serves one job and ends with it, exactly as a cold one.
    """

    def __init__(
        self, work_dir: Path, environ: Mapping[str, str] = os.environ, *, command: tuple[str, ...] = COMMAND
    ) -> None:
        self._work_dir = work_dir
        self._environ = clean(environ)
        self._command = command
        self._runs: dict[str, Child] = {}
        self._warm: dict[Framework, Child] = {}

    @property
    def warm_count(self) -> int:
        """Warm runs that wait for a job."""
        return sum(child.is_ready and child.process.returncode is None for child in self._warm.values())

    async def launch(self, run: Run) -> RunHandle:
        handle = RunHandle(run.id)
        if run.id in self._runs:
            return handle
        child = await self._use_warm(run)
        self._runs[run.id] = child or await self._spawn(run.to_env(), ())
        return handle

    async def poll(self, handle: RunHandle) -> RunState:
        child = self._runs.get(handle.id)
        if child is None:
            return RunState.LOST
        code = child.process.returncode
        if code is None:
            return RunState.RUNNING
        return RunState.SUCCEEDED if code == Exit.STATED else RunState.FAILED

    async def cancel(self, handle: RunHandle, grace_s: float = 1.0) -> None:
        if (child := self._runs.get(handle.id)) is not None:
            await _end(child, grace_s)

    async def remains(self, handle: RunHandle) -> Remains:
        child = self._runs.get(handle.id)
        if child is None:
            return Remains()
        log = child.root / LOG
        return Remains(exit_code=child.process.returncode, log=log if log.is_file() else None)

    async def forget(self, handle: RunHandle) -> None:
        if (child := self._runs.pop(handle.id, None)) is not None:
            await asyncio.to_thread(delete, child.root)

    async def warm_up(self, framework: Framework) -> bool:
        """Have one warm run for the framework; False where its toolchain did not come up.

        It yields to everything else. A job of the framework that comes meanwhile takes the half-warm run.
        """
        known = self._warm.get(framework)
        if known is not None and known.process.returncode is None:
            return True
        await self._discard(framework)
        child = self._warm[framework] = await self._spawn({}, ("--warm", str(framework)))
        polite = asyncio.create_task(self._keep_polite(framework, child))
        try:
            child.is_ready = await _says_ready(child.process)
        except asyncio.CancelledError:
            if self._warm.get(framework) is child:
                await tasks.finish(self._discard(framework))  # half a clean-up would leave a run that nobody knows of
            raise
        finally:
            await tasks.end(polite)
        if child.is_ready or self._warm.get(framework) is not child:
            return True
        await self._discard(framework)
        return False

    async def _keep_polite(self, framework: Framework, child: Child) -> None:
        """The sandbox begins a session of its own some moments later, and so a scheduling group of its own."""
        while self._warm.get(framework) is child:
            set_niceness(child.process.pid, POLITE)
            await asyncio.sleep(POLITE_PERIOD_S)

    async def stop(self) -> None:
        """End every process, running or warm."""
        for run_id in tuple(self._runs):
            await self.cancel(RunHandle(run_id))
            await self.forget(RunHandle(run_id))
        for framework in tuple(self._warm):
            await self._discard(framework)

    async def _use_warm(self, run: Run) -> Child | None:
        """Hand the job to the framework's warm run, also to one that is still importing."""
        child = self._warm.pop(run.request.framework, None)
        if child is None:
            return None
        set_niceness(child.process.pid, NORMAL)
        try:
            assert child.process.stdin is not None
            child.process.stdin.write(msgspec.json.encode(run.to_env()) + b"\n")
            await child.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            _log.warning("the warm run for %s was gone", run.request.framework)
            await self._drop(child)
            return None
        return child

    async def _spawn(self, variables: Mapping[str, str], arguments: tuple[str, ...]) -> Child:
        root = self._work_dir / f"run-{uuid4().hex}"
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE if arguments else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if arguments else STANDARD_ERROR,
            env={**self._environ, **variables, RUN_DIR: str(root), PARENT: str(os.getpid())},
            start_new_session=True,
        )
        return Child(process=process, root=root)

    async def _discard(self, framework: Framework) -> None:
        if (child := self._warm.pop(framework, None)) is not None:
            await self._drop(child)

    async def _drop(self, child: Child) -> None:
        set_niceness(child.process.pid, NORMAL)  # or on a busy machine it would take long to end
        await _end(child, grace_s=0.5)
        await asyncio.to_thread(delete, child.root)


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """What a run may inherit: the settings that it reads and the few variables of the system that it needs."""
    return {k: v for k, v in environ.items() if k in INHERITED or k.startswith(TRACING)}


async def _says_ready(process: asyncio.subprocess.Process) -> bool:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_PATIENCE_S):
            return await process.stdout.readline() == b"ready\n"
    except TimeoutError:
        return False


async def _end(child: Child, grace_s: float) -> None:
    """SIGTERM to the run, SIGKILL to its group after the grace; its sandbox dies with it. Returns when all are gone."""
    process = child.process
    if process.returncode is not None:
        return
    with watch.hold(process.pid) as early:
        _signal(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            with watch.hold(process.pid) as late:
                _signal(-process.pid, signal.SIGKILL)
                await process.wait()
                await watch.gone(late)
        await watch.gone(early)


def _signal(pid: int, number: signal.Signals) -> None:
    """To a process, or with a negative number to its group; not `Process.kill`, which may reap behind asyncio's back."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
