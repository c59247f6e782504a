"""A real stack in a folder of its own, and people who use it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from embedded.ports import Ports, is_free
from embedded.stack import StackFile
from modelport import Client
from modelport.models import Deployment, ExportJob, TrainingJob
from samples.cache import Sample

START_LIMIT_S = 120
STOP_LIMIT_S = 30
JOB_LIMIT_S = 300


class Stack:
    """A running stack in a folder of its own."""

    def __init__(self, home: Path, port_base: int, *, script: Path | None = None, **settings: str) -> None:
        """`settings` are variables of the services without their prefix, such as ACK_WAIT_S="3".

        `script` starts the stack in the place of `python -m embedded up`, with other services in it. Workers of other
        environments than this one are started where TOOLCHAINS="" asks for all of them; exports are made anew even where the same
        user has made them before unless REUSE_RESULTS="on".
        """
        self.home = home
        self.ports = Ports.from_base(port_base)
        own = {
            f"MODELPORT_{name}": value
            for name, value in {"TOOLCHAINS": "core", "REUSE_RESULTS": "off", **settings}.items()
        }
        self.environment = {**os.environ, **own, "MODELPORT_HOME": str(home), "MODELPORT_PORT_BASE": str(port_base)}
        self.environment.pop("MAKELEVEL", None)
        self._log = home / "stack.log"
        with self._log.open("w") as out:
            command = [sys.executable, *([str(script)] if script else ["-m", "embedded", "up"])]
            self._process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=subprocess.STDOUT)

    @property
    def about(self) -> StackFile:
        """Addresses, token and the present process ids."""
        return msgspec.json.decode((self.home / "stack.json").read_bytes(), type=StackFile)

    def wait(self) -> None:
        """Until every service is ready; fails with the end of the stack's output."""
        until(lambda: self._ended() or (self.home / "stack.json").exists(), START_LIMIT_S, "the stack is up")
        if self._ended():
            pytest.fail(f"the stack did not start:\n{self._log.read_text()[-3000:]}")

    def kill(self, service: str) -> int:
        """kill -9 one process; the supervisor starts it again. Answers the pid that died."""
        pid = self.about.processes[service]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_successor(self, service: str, pid: int) -> None:
        """Until the supervisor has put another process in the dead one's place."""
        until(lambda: self.about.processes[service] not in (0, pid), 60, f"{service} is started again")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _ended(self) -> bool:
        return self._process.poll() is not None


@dataclass(frozen=True)
class Person:
    """A user of the platform and a client with the user's token."""

    id: str
    client: Client

    def register(self, sample: Sample, **changes: object) -> TrainingJob:
        """Upload a sample's checkpoint and register it as its recipe says."""
        recipe = sample.recipe
        checkpoint = changes.pop("checkpoint", sample.checkpoint)
        told = {
            "framework": recipe.framework,
            "task_type": recipe.task_type,
            "model_name": recipe.model_name,
            "config": dict(recipe.config) or None,
        }
        uri = self.client.training.upload(checkpoint)
        return self.client.training.register(checkpoint_path=uri, **(told | changes))

    def export(self, training: TrainingJob, export_format: str = "onnx", **config: object) -> ExportJob:
        """Create an export and wait for its end."""
        job = self.client.exports.create(training.id, export_format, export_config=config or None)
        return self.client.exports.wait(job.id)

    def deploy(self, job: ExportJob, **config: object) -> tuple[Deployment, str]:
        """A live endpoint and its key."""
        made = self.client.deployments.create(job.id, "platform_endpoint", "test", config=config or None)
        active = self.client.deployments.wait(made.id)
        assert active.status == "active", active.error
        return active, made.api_key


def until(condition: Callable[[], object], limit_s: float, what: str) -> None:
    """Wait for a condition; `limit_s` is a safety net and never the thing tested."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting until {what}"
        time.sleep(0.05)


def free_base() -> int:
    for base in range(21000, 30000, 50):
        ports = msgspec.structs.asdict(Ports.from_base(base)).values()
        if all(map(is_free, (*ports, *range(base + 30, base + 40)))):
            return base
    pytest.fail("no fifty free ports between 21000 and 30000")
