"""One worker for each installed toolchain: of its own interpreter, port, folder and name."""

from pathlib import Path

import pytest

from embedded.pools import with_pools
from embedded.ports import Ports
from embedded.program import Program, StartError
from embedded.secrets import Secrets
from embedded.services import SERVICES, service_programs
from export_worker.toolchains import CORE, TOOLCHAINS

SECRETS = Secrets(postgres_password="a", s3_access_key="b", s3_secret_key="c", key_pepper="d", admin_token="e")
OTHERS = [toolchain for toolchain in TOOLCHAINS if toolchain.name != CORE]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with every environment of the table."""
    for toolchain in TOOLCHAINS:
        folder = tmp_path / toolchain.environment / "bin"
        folder.mkdir(parents=True)
        (folder / "python").touch()
    return tmp_path


def programs(root: Path, *wanted: str) -> dict[str, Program]:
    services = with_pools(wanted, root=root)
    made = service_programs(root / "home", Ports.from_base(18000), SECRETS, {"PATH": "/bin"}, services)
    return {program.name: program for program in made}


def test_every_environment_gets_a_worker(root: Path) -> None:
    assert set(with_pools((), root=root)) == set(SERVICES) | {one.pool for one in TOOLCHAINS}


def test_an_environment_that_is_missing_gets_none(tmp_path: Path) -> None:
    assert set(with_pools((), root=tmp_path)) == set(SERVICES)


@pytest.mark.parametrize("toolchain", OTHERS, ids=lambda one: one.name)
def test_a_pool_runs_in_its_environment_and_takes_its_formats_alone(toolchain, root: Path) -> None:
    made = programs(root)
    pool, core = made[toolchain.pool], made["export-worker"]
    python = root / toolchain.environment / "bin" / "python"
    assert pool.argv == (str(python), "-m", "export_worker")
    assert pool.env["MODELPORT_FORMATS"] == ",".join(toolchain.formats())
    assert pool.env["MODELPORT_WORKER_ID"] == pool.env["OTEL_SERVICE_NAME"] == toolchain.pool
    assert pool.env["PATH"].startswith(f"{python.parent}:")
    assert pool.ports != core.ports
    assert pool.env["MODELPORT_WORK_DIR"] != core.env["MODELPORT_WORK_DIR"]
    assert pool.env["MODELPORT_WORK_DIR"].startswith(str(root / "home" / "work")), "the watchdog looks there"
    assert "MODELPORT_FORMATS" not in core.env


def test_no_two_programs_share_a_port(root: Path) -> None:
    made = programs(root)
    assert len({program.ports for program in made.values()}) == len(made)


def test_a_stack_may_be_limited_to_some_toolchains(root: Path) -> None:
    assert set(with_pools(("core",), root=root)) == set(SERVICES)
    assert set(with_pools(("litert",), root=root)) == set(SERVICES) - {"export-worker"} | {"export-worker-litert"}


def test_a_toolchain_that_is_unknown_or_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"no toolchain 'tensorflow'.*\n.*core, litert"):
        with_pools(("tensorflow",), root=tmp_path)
    with pytest.raises(
        StartError, match=r"export-worker-litert: its environment .*\.venv-litert is missing\n.*make setup"
    ):
        with_pools(("litert",), root=tmp_path)
