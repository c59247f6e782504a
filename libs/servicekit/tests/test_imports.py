"""A service pays only for the adapters that it uses."""

import subprocess
import sys

import pytest

HEAVY = {
    "asyncpg",
    "litestar",
    "uvicorn",
    "aioboto3",
    "botocore",
    "faststream",
    "pydantic",
    "testcontainers",
    "grpc",
    "pytest",
}


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (
            "bus, jobs, leases, replay, consumers, delivery, health, process, settings, telemetry, servers, objects, fixtures",
            {"pytest"},
        ),
        ("outbox, inbox, migrate, postgres", {"asyncpg"}),
        ("http", {"litestar", "pytest"}),
    ],
)
def test_heavy_libraries_are_imported_by_those_who_need_them(modules: str, allowed: set[str]) -> None:
    code = f"import sys; from servicekit import {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) <= allowed
