"""pytest fixtures on real servers; a plugin by the entry point `servicekit`, nothing heavy imported until used."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
import pytest

if TYPE_CHECKING:
    from servicekit.bus import Bus
    from servicekit.objects import ObjectStore
    from servicekit.postgres import Pool
    from servicekit.sandbox.bubblewrap import Sandbox
    from servicekit.telemetry import Telemetry
    from servicekit.testing import NatsServer, PostgresServer, S3Server


class Schema(msgspec.Struct, frozen=True):
    """A schema name that no other test uses, and where it may be created."""

    dsn: str
    name: str


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[NatsServer]":
    """A fresh NATS for each test (it starts in 50 ms): streams and durables have fixed names."""
    from servicekit import testing

    with testing.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[PostgresServer]":
    """One PostgreSQL a session; use `pg_schema` for a place of your own."""
    from servicekit import testing

    with testing.postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[S3Server]":
    """One S3 a session; use `s3_prefix` for a place of your own."""
    from servicekit import testing

    with testing.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def pg_schema(postgres_server: "PostgresServer") -> Schema:
    """A name for a schema of one's own; nothing is created yet."""
    return Schema(postgres_server.dsn, f"t_{uuid4().hex[:12]}")


@pytest.fixture
async def pg_pool(pg_schema: Schema) -> "AsyncIterator[Pool]":
    """A pool on `pg_schema`, which exists and is empty."""
    from servicekit.postgres import create_pool

    pool = await create_pool(pg_schema.dsn, schema=pg_schema.name)
    await pool.execute(f"CREATE SCHEMA {pg_schema.name}")
    yield pool
    await pool.execute(f"DROP SCHEMA {pg_schema.name} CASCADE")
    pool.terminate()


@pytest.fixture
def s3_prefix() -> str:
    """A key prefix of one's own, ending in a slash."""
    return f"t-{uuid4().hex[:12]}/"


@pytest.fixture
async def object_store(s3_server: "S3Server") -> "AsyncIterator[ObjectStore]":
    """A store whose bucket exists."""
    from servicekit.objects import ObjectStore

    async with ObjectStore(s3_server.settings) as store:
        await store.ensure_bucket()
        yield store


@pytest.fixture
def telemetry() -> "Iterator[Telemetry]":
    """A tracer without export."""
    from opentelemetry.sdk.trace import TracerProvider

    from servicekit.telemetry import Telemetry

    made = Telemetry("test", TracerProvider(shutdown_on_exit=False))
    yield made
    made.shutdown()


@pytest.fixture
async def bus(nats_server: "NatsServer", telemetry: "Telemetry") -> "AsyncIterator[Bus]":
    """A connected bus with all streams declared, on a NATS of the test's own."""
    from servicekit.bus import Bus

    made = Bus(nats_server.url, "test", telemetry)
    await made.connect()
    yield made
    await made.stop()


@pytest.fixture(params=["own_uid", "user_namespace"])
def sandbox(request: pytest.FixtureRequest) -> "Sandbox":
    """Both ways to isolate commands that this machine can try."""
    from servicekit.sandbox.bubblewrap import make, separate_uid

    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    if request.param == "own_uid" and os.geteuid() != 0:
        pytest.skip("a user id of its own needs root")
    return make(bwrap, own_uid=separate_uid() if request.param == "own_uid" else None)
