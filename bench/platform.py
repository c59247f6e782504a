"""The stack under measurement, its clients, and waiting until it is quiet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psutil

from embedded.stack import StackFile, running_stack
from modelport import Client
from modelport.models import ExportJob, TrainingJob
from samples.cache import Sample, describe

Say = Callable[[str], None]
OWN_HOME, OWN_PORT_BASE = ".modelport-bench", 19500
START_LIMIT_S, QUIET_LIMIT_S = 120.0, 90.0
QUIET_S, QUIET_SHARE = 1.5, 0.10
SAMPLE = "shapes-detector"
UP = ("-m", "embedded", "up")


class Platform:
    """A stack, an enterprise user on it, and the sample detector registered once."""

    def __init__(self, about: StackFile) -> None:
        self.about = about
        admin = Client(about.gateway_url, about.token, about.proxy_url)
        self.client = Client(about.gateway_url, admin.users.create("bench", "enterprise").token, about.proxy_url)
        self._trainings: dict[str, TrainingJob] = {}

    @property
    def sample(self) -> Sample:
        return sample_called(SAMPLE)

    @property
    def training(self) -> TrainingJob:
        return self.training_of(SAMPLE)

    def training_of(self, name: str) -> TrainingJob:
        """A sample registered once."""
        if name not in self._trainings:
            found = sample_called(name)
            recipe = found.recipe
            self._trainings[name] = self.client.training.register(
                framework=recipe.framework,
                task_type=recipe.task_type,
                model_name=recipe.model_name,
                checkpoint_path=self.client.training.upload(found.checkpoint),
                config=dict(recipe.config) or None,
            )
        return self._trainings[name]

    def export(self) -> ExportJob:
        """One ONNX export from request to completed package."""
        return self.completed(self.client.exports.create(self.training.id, "onnx").id)

    def completed(self, job_id: UUID) -> ExportJob:
        """Wait for the completed package."""
        job = self.client.exports.wait(job_id)
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

    def settle(self, quiet_s: float = QUIET_S, *programs: str) -> None:
        """Wait until the whole stack, or some programs of it, use less than a tenth of a core for `quiet_s`: nothing is being warmed or tidied.

        Shorter than the pause before a worker warms its next run would be misled by it.
        """
        deadline = time.monotonic() + QUIET_LIMIT_S
        while time.monotonic() < deadline:
            before = self._cpu_seconds(programs)
            time.sleep(quiet_s)
            used = sum(seconds - before.get(pid, 0.0) for pid, seconds in self._cpu_seconds(programs).items())
            if used < QUIET_SHARE * quiet_s:
                return
        raise RuntimeError(f"the stack is not quiet after {QUIET_LIMIT_S:.0f} s")

    def _cpu_seconds(self, programs: Sequence[str]) -> dict[int, float]:
        """By process, because one that ends takes what it has used out of a sum."""
        spent = {}
        for name, group in self.processes().items():
            for process in group if not programs or name in programs else ():
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                spent[process.pid] = times.user + times.system
        return spent


def sample_called(name: str) -> Sample:
    """A sample of the project, trained on first use."""
    return describe(name, lambda line: print(line, file=sys.stderr))


@contextmanager
def own_platform(
    say: Say, home_name: str, port_base: int, *, up: Sequence[str] = UP, **settings: str
) -> Iterator[Platform]:
    """A stack of our own; `settings` are variables of the services without their prefix, `up` the interpreter's arguments."""
    home = Path(home_name).resolve()
    home.mkdir(exist_ok=True)
    say(f"starting a stack in {home.name}")
    told = {"TOOLCHAINS": "core", "REUSE_RESULTS": "off", **settings}
    own = {f"MODELPORT_{name}": value for name, value in told.items()}
    environment = {**os.environ, **own, "MODELPORT_HOME": str(home), "MODELPORT_PORT_BASE": str(port_base)}
    environment.pop("MAKELEVEL", None)
    with (home / "bench.log").open("w") as log:
        process = subprocess.Popen([sys.executable, *up], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Platform(_wait(home, process))
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
