"""Faults of processes: each is a plain function that does one thing to one process of a stack, named as in `stack.json`."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from embedded.program import NotReady, Probe, accepts_queries, answers
from embedded.secrets import load_or_create
from embedded.services import SERVICES, dsn, url
from tests.stack import Stack, until

SERVERS = ("nats", "postgres", "s3", "triton")
EVERYTHING = (*SERVICES, *SERVERS)
READY_LIMIT_S = 120
ASKS = {"postgres": signal.SIGINT}
"""What asks a server to stop where it is not SIGTERM, on which PostgreSQL would wait for its clients."""


def kill(stack: Stack, name: str) -> int:
    """SIGKILL; answers the pid that died. The supervisor puts another one in its place."""
    return stack.kill(name)


def restart(stack: Stack, name: str) -> None:
    """A clean stop, as when an operator restarts a service, and wait until its successor is ready."""
    pid = stack.about.processes[name]
    os.kill(pid, ASKS.get(name, signal.SIGTERM))
    successor(stack, name, pid)


def kill_and_wait(stack: Stack, name: str) -> None:
    """SIGKILL, and wait until the successor is ready."""
    successor(stack, name, kill(stack, name))


@contextmanager
def stopped(stack: Stack, name: str) -> Iterator[int]:
    """SIGSTOP for the length of the block, then SIGCONT; its pid. The processes that it has started go on."""
    pid = stack.about.processes[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def successor(stack: Stack, name: str, pid: int) -> None:
    """Until another process than `pid` is in the place and ready."""
    stack.wait_for_successor(name, pid)
    wait_until_ready(stack, name)


def wait_until_ready(stack: Stack, *names: str) -> None:
    """Until each of them says that it is ready, which is a service's /readyz; without names all of the stack."""
    for name in names or EVERYTHING:
        until(lambda name=name: is_ready(stack, name), READY_LIMIT_S, f"{name} is ready")


def is_ready(stack: Stack, name: str) -> bool:
    """Whether a process answers now."""
    try:
        asyncio.run(_probe(stack, name)())
    except NotReady:
        return False
    return True


def _probe(stack: Stack, name: str) -> Probe:
    ports = stack.ports
    if name == "postgres":
        return accepts_queries(dsn(ports, load_or_create(stack.home / "secrets.json")))
    addresses = {
        "nats": f"{url(ports.nats_monitor)}/healthz",
        "s3": f"{url(ports.s3.s3)}/healthz",
        "triton": f"{url(ports.triton_http)}/v2/health/ready",
        **{service: f"{url(getattr(ports, about.module))}/readyz" for service, about in SERVICES.items()},
    }
    return answers(addresses[name])
