import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from embedded.program import NotReady, Program, StartError
from embedded.supervised import Supervised
from servicekit.servers import free_ports

SERVER = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), None).serve_forever()"
DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def listens(port: int) -> Callable[[], Awaitable[None]]:
    async def probe() -> None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)):
                raise NotReady("nobody listens")

    return probe


async def at_once() -> None:
    return None


def program(code: str, port: int, **changed: object) -> Program:
    argv = (sys.executable, "-c", code, str(port))
    toy = Program(name="toy", argv=argv, cwd="/", env=dict(os.environ), ports=(port,), ready=listens(port))
    return msgspec.structs.replace(toy, **changed)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "toy.log"


def nothing(line: str) -> None:
    return None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_killed_program_comes_back_with_another_pid(port: int, log: Path) -> None:
    told: list[str] = []
    toy = Supervised(program(SERVER, port), log, told.append)
    await toy.start()
    first = toy.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: toy.pid != first)
    await until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    await toy.stop()
    assert toy.restarts == 1
    assert "SIGKILL" in told[0]


async def test_a_stopped_program_stays_stopped(port: int, log: Path) -> None:
    toy = Supervised(program(SERVER, port), log, nothing)
    await toy.start()
    await toy.stop()
    await asyncio.sleep(0.7)
    assert toy.restarts == 0
    with pytest.raises(ProcessLookupError):
        os.kill(toy.pid, 0)


async def test_one_that_does_not_listen_is_killed(port: int, log: Path) -> None:
    toy = Supervised(program(DEAF, port, ready=at_once, stop_grace_s=0.3), log, nothing)
    await toy.start()
    await until(lambda: "deaf" in log.read_text())
    await toy.stop()
    assert "killed" in log.read_text()


async def test_a_start_that_fails_shows_the_end_of_the_log(port: int, log: Path) -> None:
    toy = Supervised(program("raise SystemExit('the disk is full')", port), log, nothing)
    with pytest.raises(StartError, match="exit code 1 before it was ready") as failure:
        await toy.start()
    assert "the disk is full" in str(failure.value)
    assert str(log) in str(failure.value)


async def test_one_that_is_never_ready_is_told_with_what_was_seen(port: int, log: Path) -> None:
    toy = Supervised(program("import time; time.sleep(60)", port, start_limit_s=0.5), log, nothing)
    with pytest.raises(StartError, match="nobody listens"):
        await toy.start()
    await toy.stop()


async def test_a_port_in_use_is_told_before_anything_starts(port: int, log: Path) -> None:
    toy = Supervised(program(SERVER, port), log, nothing)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        with pytest.raises(StartError, match=f"port {port} is in use by process {os.getpid()}") as failure:
            await toy.start()
    assert "MODELPORT_PORT_BASE" in str(failure.value)
    assert toy.pid == 0
