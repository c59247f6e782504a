"""A gateway may start before its servers do, in any order."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from contracts import credentials
from servicekit import testing
from servicekit.servers import free_ports
from servicekit.testing import Server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Server], dict[str, str]]]:
    """Three servers of this test's own, and what a gateway must know of them."""
    folder = tmp_path_factory.mktemp
    with ExitStack() as stack:
        nats = stack.enter_context(testing.nats_server(folder("nats")))
        postgres = stack.enter_context(testing.postgres_server(folder("postgres")))
        s3 = stack.enter_context(testing.s3_server(folder("s3")))
        known = {
            "NATS_URL": nats.url,
            "POSTGRES_DSN": postgres.dsn,
            "S3_ENDPOINT": s3.settings.s3_endpoint,
            "S3_ACCESS_KEY": s3.settings.s3_access_key,
            "S3_SECRET_KEY": s3.settings.s3_secret_key,
            "KEY_PEPPER": "a pepper of the tests",
            "BOOTSTRAP_TOKEN": credentials.mint(credentials.USER_PREFIX),
            "LOG_LEVEL": "ERROR",
        }
        yield {"nats": nats, "postgres": postgres, "s3": s3}, known


@pytest.mark.parametrize("order", [("nats", "s3", "postgres"), ("postgres", "s3", "nats")], ids="-".join)
async def test_servers_that_come_later_are_waited_for(
    servers: tuple[dict[str, Server], dict[str, str]], order: tuple[str, ...], tmp_path: Path
) -> None:
    named, known = servers
    for server in named.values():
        await asyncio.to_thread(server.stop)
    (port,) = free_ports(1)
    env = os.environ | {f"MODELPORT_{name}": value for name, value in (known | {"PORT": str(port)}).items()}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], env=env, stderr=output)
    try:
        for name in order:
            await asyncio.sleep(1)
            assert process.poll() is None, log.read_text()
            await asyncio.to_thread(named[name].start)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http, asyncio.timeout(30):
            while not await is_ready(http):
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.1)
    finally:
        process.terminate()
        assert process.wait(timeout=15) == 0


async def is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False
