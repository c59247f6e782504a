"""The whole stack as a person starts it: `python -m embedded up`."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from embedded.ports import Ports, is_free
from embedded.program import fetch
from embedded.services import SERVICES
from servicekit.servers import LOOPBACK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
READY_WITHIN_S = 120


def free_base() -> int:
    """A base whose whole range is free now."""
    while True:
        base = random.randrange(30000, 60000, 50)
        ports = Ports.from_base(base)
        wanted = [*msgspec.structs.asdict(ports).values(), *msgspec.structs.asdict(ports.s3).values()]
        if all(is_free(port) for port in wanted):
            return base


class Running:
    """A started supervisor and what it wrote."""

    def __init__(self, home: Path, base: int, toolchains: tuple[str, ...] = ("core",)) -> None:
        self.home, self.base = home, base
        self.output = home.with_suffix(".out")
        environment = {**os.environ, "MODELPORT_HOME": str(home), "MODELPORT_PORT_BASE": str(base)}
        environment["MODELPORT_TOOLCHAINS"] = ",".join(toolchains)
        environment.pop("MAKELEVEL", None)
        with self.output.open("w") as out:
            command = [sys.executable, "-m", "embedded", "up"]
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)

    @property
    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "stack.json").read_text())
        return found

    def wait_ready(self) -> "Running":
        until(lambda: (self.home / "stack.json").exists() or self.process.poll() is not None, READY_WITHIN_S)
        assert self.process.poll() is None, self.output.read_text()
        return self

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def started(home: Path, toolchains: tuple[str, ...] = ("core",)) -> Iterator[Running]:
    running = Running(home, free_base(), toolchains)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
        running.process.wait(30)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        time.sleep(0.1)


def test_up_describes_itself_and_stops_cleanly(tmp_path: Path) -> None:
    with started(tmp_path / "one") as running:
        described = running.wait_ready().described
        assert set(described) >= {"gateway_url", "proxy_url", "triton_url", "nats_url", "s3_url", "token", "processes"}
        assert set(described["processes"]) >= {"nats", "postgres", "s3", "triton", *SERVICES}
        assert all(psutil.pid_exists(pid) for pid in described["processes"].values())
        assert httpx.get(f"{described['gateway_url']}/readyz").status_code == 200
        me = httpx.get(
            f"{described['gateway_url']}/api/v1/me", headers={"Authorization": f"Bearer {described['token']}"}
        )
        assert me.status_code != 401
        assert (running.home / "stack.json").stat().st_mode & 0o077 == 0
        family = running.descendants()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(15) == 0, "a clean stop takes less than 15 s"
        assert [
            process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ] == []
        assert not (running.home / "stack.json").exists()


def test_two_stacks_side_by_side_and_a_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with started(tmp_path / "one") as one, started(tmp_path / "two") as two:
        first, second = one.wait_ready().described, two.wait_ready().described
        assert first["token"] != second["token"]
        headers = {"Authorization": f"Bearer {first['token']}"}
        assert httpx.get(f"{first['gateway_url']}/api/v1/training", headers=headers).status_code == 200
        assert httpx.get(f"{second['gateway_url']}/api/v1/training", headers=headers).status_code == 401
        again = Running(one.home, free_base())
        assert again.process.wait(30) == 1
        assert "another stack already runs" in again.output.read_text()
        assert one.process.poll() is None


def test_a_killed_server_and_a_killed_service_come_back(tmp_path: Path) -> None:
    with started(tmp_path / "one") as running:
        before = running.wait_ready().described["processes"]
        for name in ("nats", "packager"):
            os.kill(before[name], signal.SIGKILL)
        until(lambda: all(running.described["processes"][name] != before[name] for name in ("nats", "packager")))
        ports = Ports.from_base(running.base)
        for port in (ports.packager, ports.gateway, ports.deployer):
            until(partial(ready, port))


def ready(port: int) -> bool:
    try:
        asyncio.run(fetch(f"http://{LOOPBACK}:{port}/readyz"))
    except Exception:
        return False
    return True


@pytest.mark.parametrize("toolchains", [("core",), ("litert",)], ids="".join)
def test_nothing_survives_when_the_supervisor_is_killed(tmp_path: Path, toolchains: tuple[str, ...]) -> None:
    """A worker of another environment is one of the family: its interpreter and its sandboxes end with the stack as well."""
    with started(tmp_path / "one", toolchains) as running:
        processes = running.wait_ready().described["processes"]
        assert ("export-worker-litert" in processes) == ("litert" in toolchains)
        family = running.descendants()
        assert len(family) >= 10
        running.process.kill()
        until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 20)
        until(lambda: not (running.home / "stack.json").exists())
        again = Running(running.home, running.base, toolchains)
        again.wait_ready()
        again.process.terminate()
        assert again.process.wait(15) == 0


def test_a_port_in_use_is_told_with_its_owner(tmp_path: Path) -> None:
    base = free_base()
    with socket.socket() as sock:
        sock.bind((LOOPBACK, Ports.from_base(base).postgres))
        sock.listen()
        running = Running(tmp_path / "one", base)
        assert running.process.wait(60) == 1
    said = running.output.read_text()
    assert f"postgres: port {base + 12} is in use by process {os.getpid()}" in said
    assert "MODELPORT_PORT_BASE" in said
