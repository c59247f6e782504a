"""Second workers and packagers beside those of a stack, and a whole tree of processes stopped and continued."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from servicekit.servers import free_ports
from tests.stack import Stack, until


def freeze(pid: int) -> list[int]:
    """SIGSTOP a process and everything that it has started, also what moved to a session of its own; who was stopped."""
    stopped: list[int] = []
    while fresh := [one for one in _tree(pid) if one not in stopped]:
        for one in fresh:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGSTOP)
        stopped += fresh
    return stopped


def thaw(pids: list[int]) -> None:
    """SIGCONT, children first."""
    for one in reversed(pids):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """`freeze` for the length of the block, then `thaw`."""
    stopped = freeze(pid)
    try:
        yield
    finally:
        thaw(stopped)


@contextmanager
def twin(stack: Stack, service: str, **changes: str) -> Iterator[int]:
    """One more process of a service, as the stack's own but for its port, its name and its folder; its pid."""
    original = psutil.Process(stack.about.processes[service])
    work = Path(original.cwd()).parent / f"{service}-twin"
    work.mkdir(exist_ok=True)
    own = {"MODELPORT_PORT": str(free_ports(1)[0]), "MODELPORT_WORK_DIR": str(work), "MODELPORT_WORKER_ID": "twin"}
    environment = {**original.environ(), **own, **{f"MODELPORT_{name}": value for name, value in changes.items()}}
    with (work / "twin.log").open("w") as log:
        process = subprocess.Popen(
            original.cmdline(), env=environment, cwd=work, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: is_ready(int(own["MODELPORT_PORT"])), 60, f"another {service} is ready")
        yield process.pid
    finally:
        thaw(_tree(process.pid))
        process.terminate()
        process.wait(60)


def is_ready(port: int) -> bool:
    """Whether a service says that it is."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def runs_of(pid: int) -> list[int]:
    """The processes that a worker has started and that are not over."""
    return _tree(pid)[1:]


def _tree(pid: int) -> list[int]:
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []
