"""The five services as programs: their module, their port, and exactly the settings that each one needs."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from embedded import signing
from embedded.ports import Ports
from embedded.program import Program, answers
from embedded.secrets import Secrets
from packager.environments import FOLDER
from packager.programs import LIST
from servicekit.servers import LOOPBACK

USER, DATABASE, BUCKET, REGION = "modelport", "modelport", "vision-platform", "us-east-1"


class Service(msgspec.Struct, frozen=True):
    """`needs` names groups of settings, see `_groups`; `script` is run in the module's place where there is one.

    `python` is the interpreter, this one where empty; `listens_on` names a port of `Ports`, the module's where empty;
    `settings` are its own.
    """

    module: str
    needs: tuple[str, ...]
    script: str = ""
    python: str = ""
    listens_on: str = ""
    settings: dict[str, str] = {}


SERVICES: Mapping[str, Service] = {
    "gateway": Service("gateway", ("bus", "postgres", "s3", "pepper", "admin", "traces", "proxy", "public keys")),
    "export-worker": Service("export_worker", ("bus", "s3", "work")),
    "packager": Service("packager", ("bus", "s3", "work", "signing", "verifiers")),
    "deployer": Service("deployer", ("bus", "s3", "triton", "proxy", "work")),
    "inference-proxy": Service("inference_proxy", ("bus", "postgres", "pepper", "triton", "proxy")),
}


def dsn(ports: Ports, secrets: Secrets, database: str = DATABASE) -> str:
    return f"postgresql://{USER}:{secrets.postgres_password}@{LOOPBACK}:{ports.postgres}/{database}"


def bus_url(port: int, secrets: Secrets, user: str) -> str:
    """The address of NATS for one of its users."""
    return f"nats://{user}:{secrets.of_bus_user(user)}@{LOOPBACK}:{port}"


def url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def service_programs(
    home: Path,
    ports: Ports,
    secrets: Secrets,
    environment: dict[str, str],
    services: Mapping[str, Service] = SERVICES,
) -> tuple[Program, ...]:
    """All of them, ready when their /readyz answers.

    Settings that the stack does not decide, such as MODELPORT_LOG_LEVEL, pass from `environment` to all of them.
    """
    return tuple(_program(name, one, home, ports, secrets, environment) for name, one in services.items())


def _program(
    name: str, service: Service, home: Path, ports: Ports, secrets: Secrets, environment: dict[str, str]
) -> Program:
    python = service.python or sys.executable
    port: int = getattr(ports, service.listens_on or service.module)
    work = home / "work" / name
    work.mkdir(parents=True, exist_ok=True)
    groups = _groups(service.module.replace("_", "-"), ports, secrets, home, work)
    settings = {key: value for group in service.needs for key, value in groups[group].items()}
    told_by_the_stack = {key for group in groups.values() for key in group}
    others = {key: value for key, value in environment.items() if key not in told_by_the_stack}
    others["PATH"] = f"{Path(python).parent}:{others.get('PATH', os.defpath)}"
    listen = {"MODELPORT_HOST": LOOPBACK, "MODELPORT_PORT": str(port)}
    tracing = {
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url(ports.traces),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    return Program(
        name=name,
        argv=(python, *((service.script,) if service.script else ("-m", service.module))),
        cwd=str(work),
        env=others | tracing | listen | settings | service.settings,
        ports=(port,),
        ready=answers(f"{url(port)}/readyz"),
        stop_grace_s=10.0,
    )


def _groups(user: str, ports: Ports, secrets: Secrets, home: Path, work: Path) -> dict[str, dict[str, str]]:
    private, public = signing.files(home)
    return {
        "bus": {"MODELPORT_NATS_URL": bus_url(ports.nats, secrets, user)},
        "postgres": {"MODELPORT_POSTGRES_DSN": dsn(ports, secrets)},
        "s3": {
            "MODELPORT_S3_ENDPOINT": url(ports.s3.s3),
            "MODELPORT_S3_PUBLIC_ENDPOINT": url(ports.s3.s3),
            "MODELPORT_S3_ACCESS_KEY": secrets.s3_access_key,
            "MODELPORT_S3_SECRET_KEY": secrets.s3_secret_key,
            "MODELPORT_S3_BUCKET": BUCKET,
            "MODELPORT_S3_REGION": REGION,
        },
        "pepper": {"MODELPORT_KEY_PEPPER": secrets.key_pepper},
        "admin": {"MODELPORT_BOOTSTRAP_TOKEN": secrets.admin_token},
        "triton": {
            "MODELPORT_TRITON_HTTP_URL": url(ports.triton_http),
            "MODELPORT_TRITON_GRPC_URL": f"{LOOPBACK}:{ports.triton_grpc}",
        },
        "proxy": {"MODELPORT_PROXY_PUBLIC_URL": url(ports.inference_proxy)},
        "traces": {"MODELPORT_TRACES_URL": url(ports.traces)},
        "work": {"MODELPORT_WORK_DIR": str(work)},
        "verifiers": {
            "MODELPORT_RUNTIMES_DIR": str(Path(sys.prefix).parent / FOLDER),
            "MODELPORT_VERIFIERS_FILE": str(LIST),
        },
        "signing": {"MODELPORT_SIGNING_KEY_FILE": str(private)},
        "public keys": {"MODELPORT_SIGNING_PUBLIC_KEYS_FILE": str(public)},
    }
