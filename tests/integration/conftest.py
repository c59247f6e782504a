"""One embedded stack for all integration tests, real servers and all five services; each test has users of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from contracts.vocabulary import ExportStatus, Scope, Tier
from embedded.ports import Ports, is_free
from embedded.stack import StackFile
from modelport import Client
from modelport.errors import ApiError, UnreachableError
from modelport.models import Deployment, ExportJob, TrainingJob
from samples.cache import Sample, describe
from samples.shapes import write_pictures

START_LIMIT_S = 120
STOP_LIMIT_S = 30
JOB_LIMIT_S = 300


class Stack:
    """A running stack in a folder of its own."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self.environment = {**os.environ, "MODELPORT_HOME": str(home), "MODELPORT_PORT_BASE": str(port_base)}
        self.environment.pop("MAKELEVEL", None)
        self._log = home / "stack.log"
        with self._log.open("w") as out:
            command = [sys.executable, "-m", "embedded", "up"]
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


@pytest.fixture(name="until", scope="session")
def until_fixture() -> Callable[..., None]:
    return until


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"), _free_base())
    try:
        running.wait()
        yield running
    finally:
        running.stop()


def _free_base() -> int:
    for base in range(21000, 30000, 50):
        ports = msgspec.structs.asdict(Ports.from_base(base)).values()
        if all(map(is_free, (*ports, *range(base + 30, base + 40)))):
            return base
    pytest.fail("no fifty free ports between 21000 and 30000")


@pytest.fixture(scope="session")
def admin(stack: Stack) -> Iterator[Client]:
    about = stack.about
    with Client(about.gateway_url, about.token, about.proxy_url) as client:
        yield client


@pytest.fixture
def person(stack: Stack, admin: Client) -> Iterator[Callable[..., Person]]:
    """`person("free")`: a new user of that tier."""
    clients = []

    def make(tier: str = Tier.ENTERPRISE) -> Person:
        user = admin.users.create(f"test {uuid4().hex[:8]}", tier)
        client = Client(stack.about.gateway_url, user.token, stack.about.proxy_url)
        clients.append(client)
        return Person(str(user.id), client)

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def owner(stack: Stack, admin: Client) -> Iterator[Person]:
    """One enterprise user for everything that need not be alone."""
    user = admin.users.create("owner", Tier.ENTERPRISE)
    token = admin.users.create_token(user.id, [Scope.READ, Scope.WRITE])
    with Client(stack.about.gateway_url, token.token, stack.about.proxy_url) as client:
        yield Person(str(user.id), client)


@pytest.fixture(scope="session")
def detector() -> Sample:
    return describe("shapes-detector")


@pytest.fixture(scope="session")
def detector_training(owner: Person, detector: Sample) -> TrainingJob:
    return owner.register(detector)


@pytest.fixture(scope="session")
def detector_export(owner: Person, detector_training: TrainingJob) -> ExportJob:
    """A completed ONNX export of the detector that tests may deploy."""
    job = owner.export(detector_training)
    assert job.status is ExportStatus.COMPLETED, job.error
    return job


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Wide, tall, large, square; PNG and JPEG."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def refusals() -> tuple[type[Exception], ...]:
    return (ApiError, UnreachableError)
