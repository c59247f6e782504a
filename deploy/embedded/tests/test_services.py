from pathlib import Path

import pytest

from embedded.ports import Ports
from embedded.program import Program
from embedded.secrets import Secrets
from embedded.services import SERVICES, service_programs

SECRETS = Secrets(
    postgres_password="pg-pw",
    s3_access_key="s3-key",
    s3_secret_key="s3-secret",
    key_pepper="pepper",
    admin_token="admin",
)
STRAY = {"MODELPORT_POSTGRES_DSN": "postgresql://elsewhere", "MODELPORT_LOG_LEVEL": "DEBUG", "PATH": "/bin"}


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Program]:
    made = service_programs(tmp_path, Ports.from_base(18000), SECRETS, STRAY)
    return {program.name: program for program in made}


def test_the_worker_that_opens_foreign_files_knows_neither_the_database_nor_the_pepper(
    programs: dict[str, Program],
) -> None:
    known = " ".join(programs["export-worker"].env.values())
    assert "pg-pw" not in known
    assert "pepper" not in known
    assert "admin" not in known
    assert "elsewhere" not in known


def test_the_packager_alone_knows_where_the_signing_key_lies(programs: dict[str, Program]) -> None:
    assert [name for name, program in programs.items() if "signing-key.pem" in " ".join(program.env.values())] == [
        "packager"
    ]


def test_the_proxy_has_no_key_of_the_object_store(programs: dict[str, Program]) -> None:
    assert not [name for name in programs["inference-proxy"].env if name.startswith("MODELPORT_S3_")]


@pytest.mark.parametrize("name", SERVICES)
def test_what_the_stack_does_not_decide_passes_through(name: str, programs: dict[str, Program]) -> None:
    assert programs[name].env["MODELPORT_LOG_LEVEL"] == "DEBUG"
    assert programs[name].env["OTEL_SERVICE_NAME"] == name


def test_each_service_listens_on_its_own_port(programs: dict[str, Program]) -> None:
    assert len({program.ports for program in programs.values()}) == len(SERVICES)
