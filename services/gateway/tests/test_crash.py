"""A gateway that dies at the worst moment, or loses its servers for a while, loses nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec
import pytest

from contracts.events import ExportRequestedV1
from gateway.parts import Parts
from gateway.progress import Progress
from gateway.settings import Settings
from gateway.testing.facts import Worker
from gateway.testing.outside import Client, Gateway, until
from gateway.traces import Traces
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.postgres import Pool, create_pool
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, PostgresServer

pytestmark = pytest.mark.integration
JOBS = "/api/v1/export/jobs"
MEMORY_LIMIT = 150 << 20


class Process:
    """`python -m gateway`, killed without warning and started again."""

    def __init__(self, settings: Settings) -> None:
        given = {name: str(getattr(settings, name)) for name in settings.__struct_fields__}
        self._env = os.environ | {f"MODELPORT_{name.upper()}": value for name, value in given.items() if value}
        self._env["MODELPORT_LOG_LEVEL"] = "WARNING"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "gateway"], env=self._env)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask for a clean end; the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=15)

    def resident_bytes(self) -> int:
        assert self._process is not None
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """A gateway process with a database of its own, and a client of it."""
    name = f"crash_{uuid4().hex[:8]}"
    admin = await create_pool(settings.postgres_dsn, schema="public")
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    dsn = settings.postgres_dsn.rsplit("/", 1)[0] + f"/{name}"
    made = Process(msgspec.structs.replace(settings, postgres_dsn=dsn))
    made.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=20) as http:
            await ready(http)
            yield made, http
    finally:
        made.kill()


@pytest.fixture
def connections(settings: Settings, telemetry: Telemetry, pg_pool: Pool, bus: Bus, object_store: ObjectStore) -> Parts:
    """The bus and the store alone: what looks at a gateway process from outside must not take its facts away."""
    return Parts(
        settings=settings,
        telemetry=telemetry,
        pool=pg_pool,
        bus=bus,
        objects=object_store,
        progress=Progress(pg_pool),
        traces=Traces(""),
    )


async def ready(http: httpx.AsyncClient) -> None:
    async def answers() -> bool | None:
        try:
            return (await http.get("/readyz")).status_code == 200 or None
        except httpx.TransportError:
            return None

    await until(answers)


@pytest.mark.parametrize("fault", ["frozen", "dead"])
async def test_killed_between_commit_and_ack_it_publishes_once_after_its_restart(
    settings: Settings, nats_server: NatsServer, connections: Parts, fault: str
) -> None:
    """A frozen bus has the message in its socket and may ack it later; a dead one has never seen it."""
    async with process(settings) as (gateway, http):
        outside = Gateway(connections, http, settings.bootstrap_token)
        client = await outside.tenant()
        training = await outside.training(client)
        if fault == "frozen":
            os.kill(nats_server.pid, signal.SIGSTOP)
        else:
            nats_server.kill()
        job = await outside.export(client, training["id"])
        gateway.kill()
        if fault == "frozen":
            os.kill(nats_server.pid, signal.SIGCONT)
        else:
            nats_server.start()
        gateway.start()
        await ready(http)
        request = await outside.requested(job["id"])
        assert str(request.job_id) == job["id"]

        gateway.kill()
        await outside.publish(*Worker(request).story())
        gateway.start()
        await ready(http)
        done = await outside.until_job(client, job["id"], "completed")
        assert done["is_default"] is True
        assert len(await outside.stated(ExportRequestedV1)) == 1


async def test_an_idle_process_is_small_and_stops_cleanly(settings: Settings) -> None:
    async with process(settings) as (gateway, http):
        client = Client(http, settings.bootstrap_token)
        await client.get("/schema/openapi.json")
        for _ in range(50):
            await client.get(JOBS)
        resident = gateway.resident_bytes()
        assert resident < MEMORY_LIMIT, f"{resident >> 20} MiB"
        assert gateway.stop() == 0


async def test_it_survives_restarts_of_its_servers(
    gateway: Gateway, nats_server: NatsServer, postgres_server: PostgresServer
) -> None:
    client = await gateway.tenant()
    training = await gateway.training(client)
    job = await gateway.export(client, training["id"])
    worker = Worker(await gateway.requested(job["id"]))
    await asyncio.to_thread(nats_server.restart)
    await gateway.publish(*worker.story()[:2])
    await gateway.until_job(client, job["id"], "running")
    await asyncio.to_thread(postgres_server.restart)
    await gateway.publish(*worker.story()[2:])
    async with asyncio.timeout(30):
        while True:
            answer = await client.send("GET", f"{JOBS}/{job['id']}")
            if answer.status_code == 200 and answer.json()["status"] == "completed":
                break
            assert answer.status_code in (200, 503), answer.text
            await asyncio.sleep(0.1)
    assert (await gateway.export(client, training["id"]))["version"] == 2
