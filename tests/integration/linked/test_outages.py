"""Servers that restart and networks that fail: every service comes back by itself, as the process that it was."""

import asyncio
import time
from collections.abc import Callable

import pytest

from embedded.secrets import load_or_create
from embedded.services import dsn
from tests.integration.linked import proof
from tests.integration.linked.conftest import REACHES, Linked
from tests.integration.nemeses import links, processes, servers
from tests.integration.nemeses.links import Link

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

Fault = Callable[[Linked, list[Link]], None]
BRIEFLY_S, LONG_S = 3.0, 60.0


def lasting(seconds: float, *toxics: Callable[[Link], None]) -> Fault:
    """One toxic after the other on all links together, each for so long."""

    def strike(_: Linked, struck: list[Link]) -> None:
        for toxic in toxics:
            for link in struck:
                toxic(link)
            time.sleep(seconds)
            for link in struck:
                links.heal(link)

    return strike


def restart_servers(linked: Linked, _: list[Link]) -> None:
    for name in ("nats", "postgres"):
        processes.restart(linked.stack, name)


def terminate_backends(linked: Linked, _: list[Link]) -> None:
    secrets = load_or_create(linked.stack.home / "secrets.json")
    assert asyncio.run(servers.terminate_backends(dsn(linked.stack.ports, secrets))) > 0


def slow(link: Link) -> None:
    links.latency(link, 0.02)
    links.slicer(link, 1400)


ALL_AT_ONCE: dict[str, Fault] = {
    "NATS and PostgreSQL restart": restart_servers,
    "pg_terminate_backend": terminate_backends,
    "reset, then closed": lasting(BRIEFLY_S, links.reset_peer, links.down),
    "half-open": lasting(0.0, links.timeout),
}
ONE_BY_ONE: dict[str, Fault] = {
    "reset": lasting(1.0, links.reset_peer),
    "closed": lasting(1.0, links.down),
    "half-open": lasting(0.0, links.timeout),
}


@pytest.fixture(scope="module")
def endpoint(someone, training_of):
    """A deployment that is there before the first fault, and its key."""
    job = proof.completed(someone, proof.request(someone, training_of()))
    deployment, key = someone.deploy(job)
    yield deployment.id, key
    someone.client.deployments.delete(deployment.id)


@pytest.fixture
def survives(linked, someone, training_of, endpoint, picture):
    """`survives(fault, links)`: what is under way ends well, what comes later too; None, or what went wrong."""

    def check(fault: Fault, struck: list[Link]) -> str | None:
        before = linked.pids()
        under_way = proof.request(someone, training_of(stage_s=1.0))
        try:
            fault(linked, struck)
            proof.answers(someone, *endpoint, picture)
            proof.completed(someone, under_way)
            proof.is_served(someone, proof.completed(someone, proof.request(someone, training_of())), picture)
        except AssertionError as error:
            return str(error)
        finally:
            for link in struck:
                links.heal(link)
        after = linked.pids()
        return None if after == before else f"started again: {[name for name in after if after[name] != before[name]]}"

    return check


@pytest.mark.parametrize("name", ALL_AT_ONCE)
def test_every_service_survives_what_strikes_all(linked, survives, figure, name):
    broken = survives(ALL_AT_ONCE[name], linked.of())
    figure(f"{name}: services started again by hand", trials=len(REACHES), measured=broken or 0, promised=0)
    assert broken is None
