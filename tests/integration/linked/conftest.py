"""A stack of its own for outages: every service reaches every server through a link that a test can cut, stop or slow down."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from embedded.ports import Ports
from embedded.secrets import load_or_create
from embedded.services import SERVICES, bus_url, dsn, url
from modelport import Client
from modelport.models import TrainingJob
from tests.integration.linked import checkpoint
from tests.integration.nemeses.links import LOOPBACK, Link, Links, links
from tests.stack import Person, Stack, free_base

HERE = Path(__file__).parent
QUICK = {
    "ACK_WAIT_S": "6",
    "HEARTBEAT_S": "1",
    "MAX_DELIVER": "2",
    "REPUBLISH_AFTER_S": "5",
    "RECONCILE_INTERVAL_S": "1",
    "SLOTS": "5",
    "WARM_RUNS": "false",
    "LOG_FORMAT": "json",
}
REACHES = {
    "gateway": ("nats", "postgres", "s3"),
    "export-worker": ("nats", "s3"),
    "packager": ("nats", "s3"),
    "deployer": ("nats", "s3", "triton_grpc"),
    "inference-proxy": ("nats", "postgres", "triton_http"),
}
"""Which servers each service speaks to: one link for each."""


@dataclass(frozen=True)
class Linked:
    """A running stack and its links by (service, server)."""

    stack: Stack
    links: dict[tuple[str, str], Link]

    def of(self, *, service: str = "", server: str = "") -> list[Link]:
        """The links of a service, of a server, or between the two."""
        return [
            link
            for (whose, to), link in self.links.items()
            if service in ("", whose) and (to == server or to.startswith(f"{server}_") or not server)
        ]

    def pids(self) -> dict[str, int]:
        """The services' processes as they are now."""
        return {name: pid for name, pid in self.stack.about.processes.items() if name in SERVICES}


@pytest.fixture(scope="package")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    home = tmp_path_factory.mktemp("linked")
    base = free_base()
    with links() as made:
        between = _links(made, Ports.from_base(base))
        told = json.dumps(_variables(home, base, between))
        stack = Stack(home, base, script=HERE / "up.py", TEST_LINKS=told, **QUICK)
        try:
            stack.wait()
            yield Linked(stack, between)
        finally:
            stack.stop()


def _links(made: Links, ports: Ports) -> dict[tuple[str, str], Link]:
    targets = {"nats": ports.nats, "postgres": ports.postgres, "s3": ports.s3.s3}
    targets |= {"triton_grpc": ports.triton_grpc, "triton_http": ports.triton_http}
    return {(service, server): made.make(targets[server]) for service, names in REACHES.items() for server in names}


def _variables(home: Path, base: int, between: dict[tuple[str, str], Link]) -> dict[str, dict[str, str]]:
    """What each service is told instead of the servers' own addresses."""
    direct = Ports.from_base(base)
    secrets = load_or_create(home / "secrets.json")
    address = dsn(direct, secrets)
    told: dict[str, dict[str, str]] = {service: {} for service in REACHES}
    for (service, server), link in between.items():
        told[service] |= {
            "nats": {"MODELPORT_NATS_URL": bus_url(link.port, secrets, service)},
            "postgres": {"MODELPORT_POSTGRES_DSN": address.replace(f":{direct.postgres}/", f":{link.port}/")},
            "s3": {"MODELPORT_S3_ENDPOINT": url(link.port)},
            "triton_grpc": {"MODELPORT_TRITON_GRPC_URL": f"{LOOPBACK}:{link.port}"},
            "triton_http": {"MODELPORT_TRITON_HTTP_URL": url(link.port)},
        }[server]
    return told


@pytest.fixture(scope="package")
def operator(linked: Linked) -> Iterator[Client]:
    """The administrator of the linked stack."""
    about = linked.stack.about
    with Client(about.gateway_url, about.token, about.proxy_url) as client:
        yield client


@pytest.fixture(scope="package")
def someone(linked: Linked, operator: Client) -> Iterator[Person]:
    """A user of the linked stack."""
    user = operator.users.create(f"linked {uuid4().hex[:8]}", "enterprise")
    about = linked.stack.about
    with Client(about.gateway_url, user.token, about.proxy_url) as client:
        yield Person(str(user.id), client)


@pytest.fixture(scope="package")
def training_of(someone: Person, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TrainingJob]:
    """`training_of(stage_s=3)`: a training that the stand-in converts, slowly or badly as its config says."""
    path = tmp_path_factory.mktemp("checkpoint") / "colours.zip"
    checkpoint.write(path)
    uri = someone.client.training.upload(path)

    def make(**config: object) -> TrainingJob:
        return someone.client.training.register(
            framework="timm",
            task_type="image_classification",
            model_name="colours",
            checkpoint_path=uri,
            config=config or None,
        )

    return make


@pytest.fixture(scope="package")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "red.png"
    Image.new("RGB", (48, 40), (250, 10, 20)).save(path)
    return path
