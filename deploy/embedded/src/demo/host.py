"""The embedded stack for the demo: the one that runs already, or one of its own that ends with it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.__main__ import NOT_STARTED
from embedded.settings import EmbeddedSettings
from embedded.stack import StackFile, running_stack
from export_worker.toolchains import CORE

START_LIMIT_S = 120.0
STOP_LIMIT_S = 20.0


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@contextmanager
def stack(settings: EmbeddedSettings, told: Callable[[str], None]) -> Iterator[StackFile]:
    """A running stack; one that was started here is stopped at the end, whatever happens in between."""
    found = running_stack(settings.home_path)
    if found is not None:
        told(f"using the stack that runs in {settings.home_path}")
        yield found
        return
    log = settings.home_path / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "embedded", "up", "--with-parent"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"MODELPORT_TOOLCHAINS": CORE, **os.environ},
        )
    try:
        yield _wait(process, settings.home_path, log)
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)


def _wait(process: subprocess.Popen[bytes], home: Path, log: Path) -> StackFile:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            said = log.read_text(errors="replace")
            raise DemoError(said[max(said.find(NOT_STARTED), 0) :].strip())
        found = running_stack(home)
        if found is not None:
            return found
        time.sleep(0.1)
    raise DemoError(f"the stack is not ready after {START_LIMIT_S:g} s; see {log}")
