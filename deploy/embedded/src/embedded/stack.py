"""Wires the embedded stack together: settings in, a supervisor and `stack.json` out."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from contracts.publishers import OPERATOR
from embedded import signing
from embedded.ports import Ports
from embedded.program import StartError
from embedded.secrets import load_or_create, write_private
from embedded.servers import create_bucket, create_database, reachable_without_root, server_programs
from embedded.services import SERVICES, Service, bus_url, service_programs, url
from embedded.settings import EmbeddedSettings
from embedded.supervisor import Supervisor
from embedded.triton import triton_program
from embedded.watchdog import MARKER

STACK_FILE = "stack.json"
OUR_OWN = (
    "MODELPORT_HOME",
    "MODELPORT_PORT_BASE",
    "MODELPORT_TOOLCHAINS",
    "OTEL_SERVICE_NAME",
    "MAKELEVEL",
    "MAKEFLAGS",
    "VIRTUAL_ENV",
)


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `$MODELPORT_HOME/stack.json` tells other programs; only its owner can read it."""

    gateway_url: str
    proxy_url: str
    triton_url: str
    nats_url: str
    s3_url: str
    traces_url: str
    token: str
    processes: dict[str, int]


class Stack:
    """One running stack in one folder; `told` receives each line a person should see."""

    def __init__(
        self, settings: EmbeddedSettings, told: Callable[[str], None], services: Mapping[str, Service] = SERVICES
    ) -> None:
        self.home = settings.home_path
        self.home.mkdir(parents=True, exist_ok=True)
        reachable_without_root(self.home)
        self._lock = _lock(self.home)
        self.ports = Ports.from_base(settings.port_base)
        self.secrets = load_or_create(self.home / "secrets.json")
        signing.load_or_create(self.home)
        stack_id = hashlib.sha256(str(self.home).encode()).hexdigest()[:32]
        environment = _environment(stack_id)
        servers = server_programs(self.home, self.ports, self.secrets, environment)
        triton = triton_program(serving_environment(), self.home / "triton", self.ports, environment)
        programs = service_programs(self.home, self.ports, self.secrets, environment, services)
        logs = self.home / "logs"
        logs.mkdir(exist_ok=True)
        self._supervisor = Supervisor(
            ((*servers, triton), programs),
            logs=logs,
            stack_id=stack_id,
            stack_file=self.home / STACK_FILE,
            prepare=self._prepare,
            told=told,
            changed=self._write_file,
        )

    async def start(self) -> StackFile:
        """Everything ready and stack.json written; StartError says what is wrong otherwise."""
        (self.home / STACK_FILE).unlink(missing_ok=True)
        await self._supervisor.start()
        self._write_file()
        return self.describe()

    async def stop(self) -> None:
        """Everything down, nothing left behind."""
        (self.home / STACK_FILE).unlink(missing_ok=True)
        await self._supervisor.stop()
        os.close(self._lock)

    def describe(self) -> StackFile:
        ports = self.ports
        return StackFile(
            gateway_url=url(ports.gateway),
            proxy_url=url(ports.inference_proxy),
            triton_url=url(ports.triton_http),
            nats_url=bus_url(ports.nats, self.secrets, OPERATOR),
            s3_url=url(ports.s3.s3),
            traces_url=url(ports.traces),
            token=self.secrets.admin_token,
            processes={"supervisor": os.getpid(), **self._supervisor.pids},
        )

    def _write_file(self) -> None:
        write_private(self.home / STACK_FILE, msgspec.json.format(msgspec.json.encode(self.describe()), indent=2))

    async def _prepare(self) -> None:
        await create_database(self.ports, self.secrets)
        await create_bucket(self.ports, self.secrets)


def running_stack(home: Path) -> StackFile | None:
    """The stack that runs in this folder now, if one is complete there."""
    path = home / STACK_FILE
    try:
        described = msgspec.json.decode(path.read_bytes(), type=StackFile)
        os.kill(described.processes["supervisor"], 0)
    except (OSError, msgspec.MsgspecError, KeyError):
        return None
    return described


def serving_environment() -> Path:
    """Triton's virtual environment, beside the one that runs this."""
    return Path(sys.prefix).parent / ".venv-serving"


def _environment(stack_id: str) -> dict[str, str]:
    """What every program of the stack inherits: this process's environment without what speaks of this process."""
    inherited = {name: value for name, value in os.environ.items() if name not in OUR_OWN}
    inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited.get('PATH', os.defpath)}"
    return inherited | {MARKER: stack_id, "PYTHONUNBUFFERED": "1"}


def _lock(home: Path) -> int:
    """Held as long as the stack lives; the kernel frees it whatever happens to us."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        hint = "stop it first, or give this one a folder of its own with MODELPORT_HOME (and MODELPORT_PORT_BASE)"
        raise StartError("stack", f"another stack already runs in {home}", hint) from None
    return descriptor
