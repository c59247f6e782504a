"""One attempt at one job as a process of its own: `python -m export_worker.run`.

The job comes by the environment of `contracts.execution`. With `--warm <framework>` the toolchain is imported first, `ready` is
printed, and the job's variables are awaited as one JSON object on standard input.

Exit status: 0 a terminal fact is stated (or another attempt owns the job), 64 the environment cannot be read, 70 a fault of ours,
73 no space on the disk, 75 the bus or the store did not answer, 143 ended by SIGTERM. Anything but 0 has stated nothing.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping

import msgspec

from contracts.errors import Permanent, Transient, is_full
from contracts.execution import Run, run_from_env
from contracts.vocabulary import Framework
from export_worker.room import Exit, Room
from export_worker.sandbox.steps import CHILD
from export_worker.settings import load_run
from servicekit import telemetry

SERVICE = "export-worker"
PARENT = "MODELPORT_PARENT_PID"
MAX_JOB_BYTES = 8 << 20
_PR_SET_PDEATHSIG = 1
_log = logging.getLogger(__name__)


async def perform(environ: Mapping[str, str], warm: Framework | None, command: tuple[str, ...] = CHILD) -> Exit:
    """The whole process; see the module's page for what the answer means."""
    traces = telemetry.setup(SERVICE, environ)
    try:
        settings = load_run(environ)
        known = None if warm else run_from_env(environ)
        room = Room(settings, environ, command)
        try:
            if known is None:
                assert warm is not None
                await room.step.start(warm, rehearse=True)
            else:
                await room.step.start(known.request.framework)

            async def job() -> Run:
                return known or await _await_job(room)

            # imported here, so that the sandbox starts before bus and store are imported: 0.3 s, beside the toolchain's own imports
            from export_worker.attempt import work

            return await work(room, settings, traces, job)
        finally:
            await room.close()
    except asyncio.CancelledError:
        return Exit.ENDED
    except (Transient, OSError) as error:
        _log.warning("try again later: %s", error)
        return Exit.NO_SPACE if is_full(error) else Exit.TRY_AGAIN
    except Permanent as error:
        _log.error("%s", error)
        return Exit.BAD_ENVIRONMENT
    except Exception:
        _log.exception("the run is at fault")
        return Exit.BROKEN
    finally:
        await asyncio.to_thread(traces.shutdown)


async def _await_job(room: Room) -> Run:
    """Say that the toolchain is imported and wait for the job; raises Transient where the child did not come up."""
    if not await room.step.ready():
        said = room.log.path.read_bytes()[-500:].decode(errors="replace").strip()
        raise Transient("unavailable", f"the toolchain could not be imported: {said}")
    print("ready", flush=True)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=MAX_JOB_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        raise asyncio.CancelledError
    return run_from_env(msgspec.json.decode(line, type=dict[str, str]))


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its starter dies, also by kill -9; at once where it is dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


async def _until_terminated(environ: Mapping[str, str], warm: Framework | None, command: tuple[str, ...]) -> Exit:
    task = asyncio.create_task(perform(environ, warm, command))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main(arguments: list[str], environ: Mapping[str, str] = os.environ, *, command: tuple[str, ...] = CHILD) -> Exit:
    """Entry of the process; `command` is what runs inside the sandbox."""
    if PARENT in environ:
        _die_with(int(environ[PARENT]))
    warm = Framework(arguments[1]) if arguments[:1] == ["--warm"] else None
    return asyncio.run(_until_terminated(environ, warm, command))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
