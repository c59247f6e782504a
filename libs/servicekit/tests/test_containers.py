"""Who chooses containers, and what is run in them (needs no engine)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servicekit import containers, servers


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(containers.CHOICE, raising=False)
    containers.use_containers.cache_clear()
    yield
    containers.use_containers.cache_clear()


def fake_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", True),
        ("exit 1", False),
        ('[ "$1" = version ] && exit 0; [ "$1" = pull ] && exit 0; exit 1', True),
        ('[ "$1" = version ] && exit 0; exit 1', False),
    ],
)
def test_an_engine_with_the_image_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: bool
) -> None:
    fake_docker(tmp_path, script, monkeypatch)
    assert containers.use_containers("nats") is expected


def test_without_docker_or_when_told_the_embedded_servers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not containers.use_containers("nats")
    containers.use_containers.cache_clear()
    fake_docker(tmp_path, "exit 0", monkeypatch)
    monkeypatch.setenv(containers.CHOICE, "embedded")
    assert not containers.use_containers("nats")


def test_postgres_in_a_container_makes_its_own_cluster(tmp_path: Path) -> None:
    command = servers.postgres_command(tmp_path, port=5439, durable=False)
    inside = containers.postgres_in_container(command, user="u", password="p")
    assert inside.argv[:2] == ("postgres", "postgres")
    assert {"-cport=5439", "-cfsync=off", "-clisten_addresses=127.0.0.1"} < set(inside.argv)
    assert not any(str(tmp_path) in part or "socket" in part for part in inside.argv)
    assert inside.env["POSTGRES_PASSWORD"] == "p"
