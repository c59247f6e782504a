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
RATE = 0.95


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


def restart_servers_and_connections(linked: Linked, struck: list[Link]) -> None:
    terminate_backends(linked, struck)
    restart_servers(linked, struck)


def slow(link: Link) -> None:
    links.latency(link, 0.02)
    links.slicer(link, 1400)


def narrow(link: Link) -> None:
    links.bandwidth(link, 200_000)


def short(link: Link) -> None:
    links.limit_data(link, 60_000)


IN_BOTH_EDITIONS: dict[str, Fault] = {
    "terminated connections, restarted servers": restart_servers_and_connections,
    "closed and half-open links": lasting(0.5, links.down, links.timeout),
}
IN_THE_FULL_ONE: dict[str, Fault] = {
    f"a partition of {LONG_S:.0f} s": lasting(LONG_S, links.partition),
    "slow links in pieces": lasting(BRIEFLY_S, slow),
    "narrow links": lasting(BRIEFLY_S, narrow),
    "links that are cut after 60 kB": lasting(BRIEFLY_S, short),
    "reset links": lasting(BRIEFLY_S, links.reset_peer),
}
BRIEF = {f"a partition of {BRIEFLY_S:.0f} s": lasting(BRIEFLY_S, links.partition)}
ONE_BY_ONE: dict[str, Fault] = {
    "reset": lasting(0.5, links.reset_peer),
    "closed": lasting(0.5, links.down),
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


@pytest.fixture(scope="module")
def rounds(pytestconfig):
    """What strikes all links at once in this edition."""
    return IN_BOTH_EDITIONS | (IN_THE_FULL_ONE if pytestconfig.getoption("full") else BRIEF)


def test_every_service_survives_what_strikes_all(linked, survives, rounds, figure):
    broken = {name: why for name, fault in rounds.items() if (why := survives(fault, linked.of()))}
    what = "services that did not come back by themselves from faults of all links"
    figure(what, trials=len(rounds) * len(REACHES), measured=len(broken), promised=0)
    assert broken == {}


def test_each_service_survives_what_strikes_it_alone(linked, survives, figure, trials):
    every = [(service, fault) for service in REACHES for fault in ONE_BY_ONE]
    chosen = every[:: len(every) // trials(1, len(every))]
    broken = {one: why for one in chosen if (why := survives(ONE_BY_ONE[one[1]], linked.of(service=one[0])))}
    what = "services that did not come back by themselves from faults of their own links"
    figure(what, trials=len(chosen), measured=len(broken), promised=0)
    assert broken == {}


def test_jobs_flow_as_before(linked, someone, training_of, figure, trials):
    """Measured in both editions and asserted in the full one, which has a quiet machine; the best of some rounds counts."""
    training, count, full = training_of(), trials(4, 40), trials(0, 1)
    before = proof.best_of(1 + full, lambda: proof.jobs_per_second(someone, training, count), enough=float("inf"))
    restart_servers_and_connections(linked, [])
    after = proof.best_of(4, lambda: proof.jobs_per_second(someone, training, count), enough=before * RATE)
    what = "jobs per second after the last fault / before the first"
    figure(what, trials=count, measured=f"{after / before:.2f}", promised=f"≥ {RATE}")
    assert not full or after >= RATE * before
