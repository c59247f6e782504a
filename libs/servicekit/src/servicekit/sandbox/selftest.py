"""Proves the sandbox of this machine before it is trusted: every barrier by a probe that tries to cross it from inside.

A sandbox of which one barrier does not hold is none.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec

from servicekit.sandbox import bubblewrap, command, probes, seccomp
from servicekit.sandbox.bubblewrap import (
    MIB,
    NOTHING,
    OPEN_FILES,
    Limits,
    Sandbox,
    SandboxState,
    Seen,
    child_environment,
)
from servicekit.sandbox.command import Ended
from servicekit.sandbox.contained import Broken
from servicekit.sandbox.job_dir import OUTPUT, JobDir

LIMITS = Limits(
    memory_bytes=192 * MIB, processes=24, file_bytes=16 * MIB, disk_bytes=32 * MIB, log_bytes=64 << 10, wall_s=120.0
)
SHORT_S = 0.5
BREAKS: dict[str, Broken] = {
    "memory": Broken.MEMORY,
    "disk": Broken.DISK,
    "process count": Broken.PROCESSES,
    "wall time": Broken.TIME,
}
"""What a command is ended for that breaks the limit; where it has a user id of its own, the kernel itself refuses processes."""
NAMES = (*probes.PROBES, *BREAKS)


def examine(mode: str = "auto", seen: Seen = NOTHING, environ: Mapping[str, str] = os.environ) -> SandboxState:
    """The sandbox of this machine with the state of each barrier; takes a second or two, and may be called within a loop."""
    sandbox, state = bubblewrap.choose(mode, seen, environ)
    if sandbox is None:
        return state
    with ThreadPoolExecutor(1) as thread:
        barriers = thread.submit(asyncio.run, prove(sandbox)).result()
    crossed = "; ".join(f"{name}: {how}" for name, how in barriers.items() if how)
    if crossed:
        description = f"{state.description}, but it does not hold: {crossed}"
        return SandboxState(available=False, description=description, barriers=barriers)
    return msgspec.structs.replace(state, barriers=barriers)


async def prove(sandbox: Sandbox) -> dict[str, str]:
    """Barrier -> how it was crossed, empty where it holds."""
    broken = asyncio.gather(*(_break(sandbox, name) for name in BREAKS))
    held = await _probe(sandbox)
    return {**held, **dict(zip(BREAKS, await broken, strict=True))}


async def _probe(sandbox: Sandbox) -> dict[str, str]:
    with JobDir.temporary(sandbox.uid()) as job, _canaries(job, sandbox) as told:
        job.write_request(json.dumps(told).encode())
        ended = await _run(sandbox, job, "probe", LIMITS)
        if ended.broken or ended.exit_code:
            how = ended.broken or f"status {ended.exit_code}"
            return dict.fromkeys(probes.PROBES, f"the probe did not end: {how}")
        answers = json.loads((job.path / OUTPUT / "barriers.json").read_text())
        return {name: answers.get(name, "the probe did not run") for name in probes.PROBES}


async def _break(sandbox: Sandbox, name: str) -> str:
    limits = msgspec.structs.replace(LIMITS, wall_s=SHORT_S) if name == "wall time" else LIMITS
    with JobDir.temporary(sandbox.uid()) as job:
        ended = await _run(sandbox, job, name, limits)
    if ended.broken is BREAKS[name] or (name == "process count" and ended.exit_code == probes.REFUSED):
        return ""
    return f"a command that breaks it ends with {ended.broken or f'status {ended.exit_code}'}"


async def _run(sandbox: Sandbox, job: JobDir, name: str, limits: Limits) -> Ended:
    shutil.copyfile(probes.__file__, job.input / "probes.py")
    call = (sys.executable, "-I", "-S", "/job/input/probes.py", name)
    return await command.run(sandbox, call, root=job.root, limits=limits)


@contextmanager
def _canaries(job: JobDir, sandbox: Sandbox) -> Iterator[dict[str, object]]:
    """What must not be reached: a listener of each kind, a variable, a file beside the job, this process itself."""
    name = f"modelport-{uuid4().hex}"
    foreign = job.root / "foreign"
    foreign.write_text("another job")
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        _listener(f"{folder}/s"),
        _listener(f"\0{name}"),
    ):
        yield {
            "tcp_port": tcp.getsockname()[1],
            "unix_path": f"{folder}/s",
            "abstract_name": name,
            "foreign_file": str(foreign),
            "started": _own_start(),
            "variables": " ".join(child_environment(1, sandbox.variables)),
            "denied": seccomp.denied() if seccomp.is_supported() else {},
            "open_files": OPEN_FILES,
            "file_bytes": LIMITS.file_bytes,
        }


@contextmanager
def _listener(path: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        yield


def _own_start() -> int:
    """When this process began, in clock ticks since boot."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
