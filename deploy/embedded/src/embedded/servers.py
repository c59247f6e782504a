"""The real servers as programs: NATS, PostgreSQL, SeaweedFS, the trace sink."""

import os
import sys
from pathlib import Path

import asyncpg
import msgspec
import psutil

from contracts.publishers import OPERATOR, PUBLISHERS
from embedded.ports import Ports
from embedded.program import Probe, Program, accepts_queries, answers, syncs_every_write
from embedded.secrets import Secrets
from embedded.services import BUCKET, DATABASE, REGION, USER, dsn, url
from servicekit.objects import ObjectStore
from servicekit.servers import (
    BusUser,
    ServerCommand,
    initdb_command,
    nats_command,
    postgres_command,
    postgres_is_initialised,
    weed_command,
)
from servicekit.settings import S3Settings

POSTGRES_MAX_CONNECTIONS = 100


def server_programs(home: Path, ports: Ports, secrets: Secrets, environment: dict[str, str]) -> tuple[Program, ...]:
    """In no order: they do not depend on each other."""
    users = bus_users(secrets)
    nats = nats_command(home / "nats", port=ports.nats, monitor_port=ports.nats_monitor, users=users)
    weed = weed_command(home / "s3", ports=ports.s3, access_key=secrets.s3_access_key, secret_key=secrets.s3_secret_key)
    weed_ports = tuple(msgspec.structs.asdict(ports.s3).values())
    return (
        _program(nats, environment, (ports.nats, ports.nats_monitor), syncs_every_write(ports.nats_monitor)),
        _postgres(home / "postgres", ports, secrets, environment),
        _program(weed, environment, weed_ports, answers(weed.ready_url)),
        _trace_sink(home, ports, environment),
    )


def bus_users(secrets: Secrets) -> tuple[BusUser, ...]:
    """The operator, and each service with the facts that are its own to state."""
    services = (
        BusUser(name=name, password=secrets.of_bus_user(name), publishes=publisher.subjects)
        for name, publisher in PUBLISHERS.items()
    )
    return (BusUser(name=OPERATOR, password=secrets.of_bus_user(OPERATOR)), *services)


def _postgres(folder: Path, ports: Ports, secrets: Secrets, environment: dict[str, str]) -> Program:
    before: tuple[ServerCommand, ...] = ()
    if not postgres_is_initialised(folder):
        before = (initdb_command(folder, user=USER, password=secrets.postgres_password),)
    command = postgres_command(folder, port=ports.postgres, max_connections=POSTGRES_MAX_CONNECTIONS)
    ready = accepts_queries(dsn(ports, secrets, database="postgres"))
    program = _program(command, environment, (ports.postgres,), ready, before)
    return msgspec.structs.replace(program, clear=lambda: _clear_lock(folder / "data" / "postmaster.pid"))


def _clear_lock(path: Path) -> None:
    """A killed postmaster's lock file, once its process is gone: PostgreSQL takes a zombie for a living one."""
    try:
        pid = int(path.read_text().split()[0])
        alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess):
        alive = False
    if not alive:
        path.unlink(missing_ok=True)


def _trace_sink(home: Path, ports: Ports, environment: dict[str, str]) -> Program:
    argv = (sys.executable, "-m", "embedded.traces", str(ports.traces), str(home / "traces.sqlite"))
    command = ServerCommand(name="traces", argv=argv, cwd=str(home), port=ports.traces)
    return _program(command, environment, (ports.traces,), answers(f"{url(ports.traces)}/healthz"))


def _program(
    command: ServerCommand,
    environment: dict[str, str],
    ports: tuple[int, ...],
    ready: Probe,
    before: tuple[ServerCommand, ...] = (),
) -> Program:
    return Program(
        name=command.name,
        argv=command.argv,
        cwd=command.cwd,
        env=environment | command.env,
        ports=ports,
        ready=ready,
        before=before,
        stop_signal=command.stop_signal,
    )


async def create_database(ports: Ports, secrets: Secrets) -> None:
    """The services' database, empty; they migrate their own schemas."""
    connection = await asyncpg.connect(dsn(ports, secrets, database="postgres"))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()


async def create_bucket(ports: Ports, secrets: Secrets) -> None:
    """The platform's bucket, where it is missing."""
    settings = S3Settings(
        s3_endpoint=url(ports.s3.s3),
        s3_access_key=secrets.s3_access_key,
        s3_secret_key=secrets.s3_secret_key,
        s3_bucket=BUCKET,
        s3_region=REGION,
    )
    async with ObjectStore(settings) as store:
        await store.ensure_bucket()


def reachable_without_root(home: Path) -> None:
    """PostgreSQL runs as another user under root: it must be able to enter its folder."""
    if os.geteuid() == 0:
        home.chmod(0o711)
