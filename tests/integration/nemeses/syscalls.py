"""Servers under strace: which calls that force data to the disk they have made so far."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servicekit.servers import ServerCommand

FORCES = ("fsync", "fdatasync", "sync_file_range", "syncfs", "sync")


class Traced:
    """A server whose calls are written down, each before the server goes on."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def forced(self) -> int:
        """How often it has forced data to the disk, successfully."""
        lines = self._log.read_text(errors="replace").splitlines()
        return sum(line.endswith("= 0") for line in lines)


@contextmanager
def traced(command: ServerCommand, log: Path) -> Iterator[Traced]:
    """Run a server under strace; it is killed with all its children."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: apt-get install strace")
    argv = (strace, "-f", "-qq", "-e", "signal=none", "-e", f"trace={','.join(FORCES)}", "-o", str(log), *command.argv)
    with log.with_suffix(".out").open("w") as out:
        process = subprocess.Popen(
            argv, cwd=command.cwd, env={**os.environ, **command.env}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield Traced(log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
