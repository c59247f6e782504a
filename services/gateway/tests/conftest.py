"""A whole gateway against real PostgreSQL, NATS and S3."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from contracts import credentials
from gateway.app import build_app, running
from gateway.parts import Parts
from gateway.settings import Settings
from gateway.testing.outside import Gateway
from servicekit.fixtures import Schema
from servicekit.http import make_server
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server

PEPPER = "a pepper of the tests"


@pytest.fixture
def settings(nats_server: NatsServer, pg_schema: Schema, s3_server: S3Server) -> Settings:
    s3 = s3_server.settings
    return Settings(
        nats_url=nats_server.url,
        postgres_dsn=pg_schema.dsn,
        s3_endpoint=s3.s3_endpoint,
        s3_access_key=s3.s3_access_key,
        s3_secret_key=s3.s3_secret_key,
        port=free_ports(1)[0],
        key_pepper=PEPPER,
        bootstrap_token=credentials.mint(credentials.USER_PREFIX),
        proxy_public_url="https://proxy.example.org/",
        reconcile_interval_s=0.2,
        keepalive_s=0.3,
    )


@pytest.fixture
async def parts(settings: Settings, pg_schema: Schema, telemetry: Telemetry) -> AsyncIterator[Parts]:
    async with running(settings, telemetry, schema=pg_schema.name) as made:
        yield made


@pytest.fixture
async def gateway(parts: Parts) -> AsyncIterator[Gateway]:
    """The gateway behind a real HTTP server, and its administrator."""
    settings = parts.settings
    server = make_server(build_app(parts), settings.host, settings.port, grace_s=1)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://{settings.host}:{settings.port}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield Gateway(parts, http, settings.bootstrap_token)
    server.should_exit = True
    await serving
