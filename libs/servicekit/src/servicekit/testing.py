"""Real servers for tests: the embedded programs, or containers where a Docker engine answers."""

import asyncio
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Protocol

from servicekit import containers, servers
from servicekit.servers import ServerCommand, WeedPorts, free_ports
from servicekit.settings import S3Settings

START_PATIENCE_S = 30.0
STOP_PATIENCE_S = 10.0
POSTGRES_USER = "modelport"
POSTGRES_PASSWORD = "modelport-test"  # noqa: S105  (of a server on loopback that lives for one test run)


class ServerFailed(RuntimeError):
    """A server did not become ready; the message ends with the tail of its log."""


class Running(Protocol):
    """What runs a server: a program of this machine or a container."""

    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def is_running(self) -> bool: ...
    def stop(self, patience_s: float) -> None: ...
    def kill(self) -> None: ...
    def log(self) -> str: ...


class Program:
    """A child process in a session of its own; its output goes to a file."""

    def __init__(self, command: ServerCommand, log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command.argv,
                cwd=self._command.cwd,
                env={**os.environ, **self._command.env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, patience_s: float) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(Signals[self._command.stop_signal])
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Also its own children, and wait for them: while one of PostgreSQL's lives, no successor starts on its data."""
        if self._process is None:
            return
        children: list[int] = []
        if self.is_running():
            self._process.send_signal(Signals.SIGSTOP)  # so that it has no more children after these
            children = _children(self.pid)
            for victim in (self.pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(victim, Signals.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + STOP_PATIENCE_S
        while any(_is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Server:
    """One running server; `kill` is SIGKILL, `restart` starts it again on the same data and ports."""

    def __init__(self, command: ServerCommand, log: Path) -> None:
        self._command = command
        in_container = command.name in containers.IMAGES and containers.use_containers(command.name)
        self._running: Running = containers.Container(command) if in_container else Program(command, log)

    @property
    def pid(self) -> int:
        return self._running.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        self._running.start()
        deadline = time.monotonic() + START_PATIENCE_S
        while not self._answers():
            if not self._running.is_running() or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self._command.name} did not start:\n{self._running.log()[-3000:]}")
            time.sleep(0.02)

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._running.is_running()

    def stop(self) -> None:
        """Ask for a clean stop and wait for it; SIGKILL where it takes too long."""
        self._running.stop(STOP_PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL."""
        self._running.kill()

    def restart(self) -> None:
        """Kill without warning, then start again."""
        self.kill()
        self.start()

    def _answers(self) -> bool:
        if self._command.ready_url:
            try:
                with urllib.request.urlopen(self._command.ready_url, timeout=1) as answer:  # noqa: S310  (our own server)
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False
        return _postgres_answers(self._command.port)


class NatsServer(Server):
    """nats-server with JetStream at `url`."""

    url: str = ""


class PostgresServer(Server):
    """PostgreSQL at `dsn`, a superuser's."""

    dsn: str = ""


class S3Server(Server):
    """SeaweedFS; `settings` is what a service would load."""

    settings: S3Settings

    @property
    def url(self) -> str:
        return self.settings.s3_endpoint


@contextmanager
def nats_server(tmp: Path, *, sync_always: bool = False) -> Iterator[NatsServer]:
    """A nats-server of one's own with its data below `tmp`."""
    port, monitor = free_ports(2)
    command = servers.nats_command(tmp / "nats", port=port, monitor_port=monitor, sync_always=sync_always)
    server = NatsServer(command, tmp / "nats.log")
    server.url = f"nats://127.0.0.1:{port}"
    with _running(server):
        yield server


@contextmanager
def postgres_server(tmp: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL of one's own without fsync, its data below `tmp`."""
    (port,) = free_ports(1)
    directory = tmp / "postgres"
    command = servers.postgres_command(directory, port=port, durable=False)
    if containers.use_containers("postgres"):
        directory.mkdir()
        command = containers.postgres_in_container(command, user=POSTGRES_USER, password=POSTGRES_PASSWORD)
    else:
        _make_cluster(directory)
    server = PostgresServer(command, tmp / "postgres.log")
    server.dsn = f"postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@127.0.0.1:{port}/postgres"
    with _running(server):
        yield server


@contextmanager
def s3_server(tmp: Path) -> Iterator[S3Server]:
    """A SeaweedFS of one's own, authenticated, its data below `tmp`."""
    ports = WeedPorts.free()
    settings = S3Settings(
        s3_endpoint=f"http://127.0.0.1:{ports.s3}",
        s3_access_key="modelporttest",
        s3_secret_key="modelport-test-secret",  # noqa: S106  (likewise)
    )
    command = servers.weed_command(
        tmp / "s3", ports=ports, access_key=settings.s3_access_key, secret_key=settings.s3_secret_key
    )
    server = S3Server(command, tmp / "s3.log")
    server.settings = settings
    with _running(server):
        yield server


@contextmanager
def _running(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


def _make_cluster(directory: Path) -> None:
    initdb = servers.initdb_command(directory, user=POSTGRES_USER, password=POSTGRES_PASSWORD, durable=False)
    done = subprocess.run(initdb.argv, cwd=initdb.cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailed(f"initdb failed:\n{done.stderr[-3000:]}")


def _postgres_answers(port: int) -> bool:
    """True once it asks for a password: during recovery it refuses connections."""
    import asyncpg

    async def ask() -> bool:
        dsn = f"postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@127.0.0.1:{port}/postgres"
        try:
            connection = await asyncpg.connect(dsn, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(ask())).result()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


async def eventually(condition: Callable[[], bool | Awaitable[bool]], patience_s: float = 30.0) -> None:
    """Wait until `condition` holds; TimeoutError where it never does."""
    async with asyncio.timeout(patience_s):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)
