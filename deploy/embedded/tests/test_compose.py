"""docker-compose.yml: valid, on loopback only, and with the same settings for every service as the embedded stack."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded.pools import with_pools
from embedded.ports import Ports
from embedded.secrets import Secrets
from embedded.services import SERVICES, service_programs
from export_worker.toolchains import CORE, TOOLCHAINS, Toolchain

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {
    "MODELPORT_POSTGRES_PASSWORD": "pw",
    "MODELPORT_S3_ACCESS_KEY": "access",
    "MODELPORT_S3_SECRET_KEY": "secret",
    "MODELPORT_KEY_PEPPER": "pepper-of-sixteen",
    "MODELPORT_BOOTSTRAP_TOKEN": "mp_token",
}
SET_BY_THE_IMAGE = {"MODELPORT_HOST", "MODELPORT_PORT", "MODELPORT_WORK_DIR", "MODELPORT_STACK_ID", "MODELPORT_FORMATS"}
SET_BY_THE_CONTAINER = {"MODELPORT_WORKER_ID"}
"""Its host name tells the replicas of one worker apart."""
ARGUMENT = re.compile(r"^ARG (\w+)=(.*)$", re.MULTILINE)
ALL = [*SERVICES, *(toolchain.pool for toolchain in TOOLCHAINS if toolchain.name != CORE)]
WORKERS = pytest.mark.parametrize("toolchain", TOOLCHAINS, ids=lambda one: one.name)


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_every_part_of_the_platform_is_there() -> None:
    servers = {"nats", "postgres", "s3", "triton", "jaeger", "bucket"}
    assert set(compose()["services"]) == servers | set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_service_gets_the_settings_it_gets_in_the_embedded_stack(name: str, tmp_path: Path) -> None:
    secrets = Secrets(postgres_password="a", s3_access_key="b", s3_secret_key="c", key_pepper="d", admin_token="e")
    for toolchain in TOOLCHAINS:
        folder = tmp_path / toolchain.environment / "bin"
        folder.mkdir(parents=True)
        (folder / "python").touch()
    services = with_pools((), root=tmp_path)
    made = service_programs(tmp_path, Ports.from_base(18000), secrets, {}, services)
    env = next(program.env for program in made if program.name == name)
    wanted = {key for key in env if key.startswith("MODELPORT_")} - SET_BY_THE_IMAGE - SET_BY_THE_CONTAINER
    assert wanted <= set(compose()["services"][name]["environment"])


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_published_ports_are_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in compose()["services"][name].get("ports", []))


def test_triton_and_the_databases_inner_ports_are_not_published() -> None:
    assert "ports" not in compose()["services"]["triton"]
    assert compose()["services"]["s3"]["ports"] == ["127.0.0.1:8333:8333"]


def arguments(name: str) -> dict[str, str]:
    """The build arguments of a service's image: the file's own, and what compose says instead."""
    build = compose()["services"][name]["build"]
    own = dict(ARGUMENT.findall((ROOT / build["dockerfile"]).read_text()))
    return own | build.get("args", {})


@pytest.mark.parametrize("name", ALL)
def test_the_image_of_a_service_can_be_built_from_files_that_exist(name: str) -> None:
    text = (ROOT / compose()["services"][name]["build"]["dockerfile"]).read_text()
    for argument, value in arguments(name).items():
        text = text.replace(f"${{{argument}}}", value)
    copied = list(re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE))
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


@WORKERS
def test_each_environment_has_a_worker_with_an_image_of_its_own(toolchain: Toolchain) -> None:
    service, given = compose()["services"][toolchain.pool], arguments(toolchain.pool)
    assert service["image"] == f"modelport/{toolchain.pool}"
    assert service["environment"]["OTEL_SERVICE_NAME"] == toolchain.pool
    assert given["PINS"] == toolchain.pins
    assert given["EXTRAS"].split(",") == list(toolchain.extras)
    assert given["FORMATS"].split(",") == [str(name) for name in toolchain.formats()]


def test_an_image_without_arguments_is_the_cores_in_each_of_its_stages() -> None:
    text = (ROOT / "deploy" / "images" / "export-worker.Dockerfile").read_text()
    told = [value for name, value in ARGUMENT.findall(text) if name == "FORMATS"]
    core = next(toolchain for toolchain in TOOLCHAINS if toolchain.name == CORE)
    assert told == [",".join(core.formats())] * 2
    assert "-m export_worker.smoke" in text


def test_no_two_workers_share_a_folder_of_work() -> None:
    volumes = [compose()["services"][toolchain.pool]["volumes"][0] for toolchain in TOOLCHAINS]
    assert len({volume.split(":")[0] for volume in volumes}) == len(TOOLCHAINS)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "images").glob("*.Dockerfile")))
def test_images_run_without_root_and_say_whether_they_are_well(path: Path) -> None:
    text = path.read_text()
    assert "\nUSER modelport\n" in text
    assert "\nHEALTHCHECK " in text


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in SECRETS:
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), name


def test_nats_syncs_every_write() -> None:
    assert "sync_interval: always" in (ROOT / "deploy" / "images" / "nats.conf").read_text()


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="docker-compose is not installed: apt-get install docker-compose"
)
def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose") or ""
    checked = subprocess.run([program, "config", "-q"], cwd=ROOT, env=SECRETS, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    refused = subprocess.run([program, "config", "-q"], cwd=ROOT, env={}, capture_output=True, text=True)
    assert "MODELPORT_" in refused.stderr, "without secrets it must not start"
