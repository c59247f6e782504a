"""One embedded stack for all tests of the whole, real servers and all five services; each test has users of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.vocabulary import ExportStatus, Scope, Tier
from modelport import Client
from modelport.errors import ApiError, UnreachableError
from modelport.models import ExportJob, TrainingJob
from samples.cache import Sample, describe
from samples.shapes import write_pictures

from .stack import Person, Stack, free_base, until


@pytest.fixture(name="until", scope="session")
def until_fixture() -> Callable[..., None]:
    return until


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"), free_base(), LOG_LEVEL="DEBUG", TOOLCHAINS="")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


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
