"""The stack under measurement: found or started, its clients, and waiting until it is quiet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from embedded.settings import EmbeddedSettings
from embedded.stack import StackFile, running_stack
from modelport import Client
from modelport.models import ExportJob, TrainingJob
from samples.cache import Sample, describe
from servicekit.settings import load

Say = Callable[[str], None]
OWN_HOME, OWN_PORT_BASE = ".modelport-bench", "19500"
START_LIMIT_S, QUIET_LIMIT_S = 120.0, 90.0
QUIET_S, QUIET_SHARE = 3.0, 0.10


class Platform:
    """A stack, an enterprise user on it, and the sample detector registered once."""

    def __init__(self, about: StackFile, *, is_fresh: bool) -> None:
        self.about = about
        self.is_fresh = is_fresh
        admin = Client(about.gateway_url, about.token, about.proxy_url)
        self.client = Client(about.gateway_url, admin.users.create("bench", "enterprise").token, about.proxy_url)
        self._training: TrainingJob | None = None

    @property
    def sample(self) -> Sample:
        return describe("shapes-detector", lambda line: print(line, file=sys.stderr))

    @property
    def training(self) -> TrainingJob:
        if self._training is None:
            recipe = self.sample.recipe
            self._training = self.client.training.register(
                framework=recipe.framework,
                task_type=recipe.task_type,
                model_name=recipe.model_name,
                checkpoint_path=self.client.training.upload(self.sample.checkpoint),
            )
        return self._training

    def export(self) -> ExportJob:
        """One ONNX export from request to completed package."""
        job = self.client.exports.wait(self.client.exports.create(self.training.id, "onnx").id)
        if job.status != "completed":
            raise RuntimeError(f"the export ended as {job.status}: {job.error}")
        return job

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Each program of the stack with all its children."""
        found = {}
        for name, pid in self.about.processes.items():
            if name != "supervisor":
                process = psutil.Process(pid)
                found[name] = [process, *process.children(recursive=True)]
        return found

    def settle(self) -> None:
        """Wait until the whole stack uses less than a tenth of a core for three seconds: nothing is being warmed or tidied.

        Shorter would be misled by the second that a worker waits before it warms its next run.
        """
        deadline = time.monotonic() + QUIET_LIMIT_S
        while time.monotonic() < deadline:
            before = self._cpu_seconds()
            time.sleep(QUIET_S)
            used = sum(seconds - before.get(pid, 0.0) for pid, seconds in self._cpu_seconds().items())
            if used < QUIET_SHARE * QUIET_S:
                return
        raise RuntimeError(f"the stack is not quiet after {QUIET_LIMIT_S:.0f} s")

    def _cpu_seconds(self) -> dict[int, float]:
        """By process, because one that ends takes what it has used out of a sum."""
        spent = {}
        for process in (process for group in self.processes().values() for process in group):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent[process.pid] = times.user + times.system
        return spent


@contextmanager
def running_platform(say: Say) -> Iterator[Platform]:
    """The stack of $MODELPORT_HOME, or one of our own for as long as the block lasts."""
    about = running_stack(load(EmbeddedSettings).home_path)
    if about is not None:
        say("using the stack that runs already")
        yield Platform(about, is_fresh=False)
        return
    home = Path(OWN_HOME).resolve()
    home.mkdir(exist_ok=True)
    say(f"starting a stack in {home.name}")
    environment = {**os.environ, "MODELPORT_HOME": str(home), "MODELPORT_PORT_BASE": OWN_PORT_BASE}
    environment.pop("MAKELEVEL", None)
    with (home / "bench.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "embedded", "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield Platform(_wait(home, process), is_fresh=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait(home: Path, process: "subprocess.Popen[bytes]") -> StackFile:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        about = running_stack(home)
        if about is not None:
            return about
        time.sleep(0.2)
    raise RuntimeError(f"the stack did not start:\n{(home / 'bench.log').read_text()[-2000:]}")
