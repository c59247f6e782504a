"""Proves the sandbox of this machine before it is trusted: every barrier by a probe that tries to cross it from inside.

A sandbox of which one barrier does not hold is none.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec

from contracts.vocabulary import Framework
from export_worker.sandbox import bubblewrap, probes, seccomp
from export_worker.sandbox.bubblewrap import MIB, OPEN_FILES, Limits, Sandbox, SandboxState, child_environment
from export_worker.sandbox.job_dir import OUTPUT, JobDir
from export_worker.sandbox.step_log import StepLog
from export_worker.sandbox.steps import Outcome, Step

LIMITS = Limits(
    memory_bytes=192 * MIB, processes=24, file_bytes=16 * MIB, disk_bytes=32 * MIB, log_bytes=64 << 10, wall_s=120.0
)
SHORT_S = 0.5
BREAKS: dict[str, tuple[str, ...]] = {
    "memory": ("step_out_of_memory",),
    "disk": ("step_disk_full",),
    "process count": ("step_crashed", "conversion_failed"),
    "wall time": ("step_timeout",),
}
"""How a step ends that breaks the limit; the kernel itself refuses processes where steps have a user id of their own."""
NAMES = (*probes.PROBES, *BREAKS)


def examine(mode: str = "auto", environ: Mapping[str, str] = os.environ) -> SandboxState:
    """The sandbox of this machine with the state of each barrier; takes a second or two, and may be called within a loop."""
    sandbox, state = bubblewrap.choose(mode, environ)
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
    with JobDir.temporary(sandbox.uid()) as job, _canaries(job) as told:
        job.write_request(json.dumps(told).encode())
        outcome = await _run(sandbox, job, "probe", LIMITS)
        if outcome.error is not None:
            return dict.fromkeys(probes.PROBES, f"the probe did not end: {outcome.error.message}")
        answers = json.loads((job.path / OUTPUT / "barriers.json").read_text())
        return {name: answers.get(name, "the probe did not run") for name in probes.PROBES}


async def _break(sandbox: Sandbox, name: str) -> str:
    limits = msgspec.structs.replace(LIMITS, wall_s=SHORT_S) if name == "wall time" else LIMITS
    with JobDir.temporary(sandbox.uid()) as job:
        outcome = await _run(sandbox, job, name, limits)
    told = outcome.error.code if outcome.error else "success"
    return "" if told in BREAKS[name] else f"a step that breaks it ends with {told}"


async def _run(sandbox: Sandbox, job: JobDir, name: str, limits: Limits) -> Outcome:
    log = StepLog(job.log, limits.log_bytes)
    step = Step(sandbox, job, limits, log, command=(sys.executable, "-I", "-S", str(Path(probes.__file__)), name))
    try:
        await step.start(Framework.TIMM)
        return await step.finish(lambda _: None)
    finally:
        await step.kill()
        log.close()


@contextmanager
def _canaries(job: JobDir) -> Iterator[dict[str, object]]:
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
            "variables": " ".join(child_environment(1)),
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
