"""A whole gateway against real PostgreSQL, NATS and S3."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts import credentials, keys
from contracts.envelope import event_id
from contracts.events import DeploymentRequestedV1, Event, ExportRequestedV1
from contracts.subjects import stream_of
from gateway.app import build_app, running
from gateway.parts import Parts
from gateway.settings import Settings
from gateway.testing import Client, Worker
from servicekit.fixtures import Schema
from servicekit.http import make_server
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server

PEPPER = "a pepper of the tests"
PATIENCE_S = 20.0
R = TypeVar("R")
E = TypeVar("E", bound=msgspec.Struct)


class Gateway:
    """A running gateway, seen from outside: REST and the bus."""

    def __init__(self, parts: Parts, http: httpx.AsyncClient, admin_token: str) -> None:
        self.parts = parts
        self.http = http
        self.admin = Client(http, admin_token)

    async def tenant(self, tier: str = "pro") -> Client:
        """A new user's client."""
        made = await self.admin.post("/api/v1/users", {"name": "somebody", "tier": tier})
        return Client(self.http, made["token"])

    async def training(self, client: Client, **changes: object) -> Any:
        """A registered training with its checkpoint in the store."""
        me = await client.get("/api/v1/users/me")
        key = keys.upload(UUID(me["id"]), uuid4(), "best.pt")
        await self.parts.objects.put_bytes(key, b"weights")
        body = {
            "framework": "ultralytics",
            "task_type": "object_detection",
            "model_name": "shapes",
            "checkpoint_path": f"s3://{self.parts.objects.bucket}/{key}",
            "classes": ["circle"],
        }
        return await client.post("/api/v1/training", body | changes)

    async def export(self, client: Client, training_id: str, **changes: object) -> Any:
        body = {"training_job_id": training_id, "export_format": "onnx"}
        return await client.post("/api/v1/export/jobs", body | changes)

    async def completed(self, client: Client) -> Any:
        """A job that was exported and packaged."""
        training = await self.training(client)
        job = await self.export(client, training["id"])
        await self.publish(*Worker(await self.requested(job["id"])).story())
        return await self.until_job(client, job["id"], "completed")

    async def publish(self, *events: Event) -> None:
        """State facts as another service would; the same fact has the same id."""
        for event in events:
            subject_id = getattr(event, "job_id", None) or getattr(event, "deployment_id", None) or uuid4()
            told = str(msgspec.json.encode(event))
            identity = event_id(type(event), subject_id, told)
            await self.parts.bus.publish(event, subject_id=subject_id, event_id=identity)

    async def messages(self, subject: str) -> list[bytes]:
        """The bodies of everything that was published on a subject (which may have wildcards) so far."""
        jetstream = self.parts.bus.jetstream
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
        found = await jetstream.subscribe(subject, stream=stream_of(subject), ordered_consumer=True, config=config)
        bodies = []
        try:
            while True:
                bodies.append((await found.next_msg(timeout=0.3)).data)
        except TimeoutError:
            return bodies
        finally:
            await found.unsubscribe()

    async def stated(self, event_type: type[E], subject: str) -> list[E]:
        return [msgspec.json.decode(body, type=event_type) for body in await self.messages(subject)]

    async def requested(self, job_id: str) -> ExportRequestedV1:
        """The first request for a job, once it is on the bus."""

        async def find() -> ExportRequestedV1 | None:
            found = await self.stated(ExportRequestedV1, "export.jobs.requested.v1.*")
            return next((event for event in found if str(event.job_id) == job_id), None)

        return await until(find)

    async def wishes(self, deployment_id: str, count: int = 1) -> list[DeploymentRequestedV1]:
        """What was asked of the deployer about a deployment, once it is `count` wishes."""

        async def find() -> list[DeploymentRequestedV1] | None:
            found = await self.stated(DeploymentRequestedV1, "deployment.targets.requested.v1.*")
            mine = [event for event in found if str(event.deployment_id) == deployment_id]
            return mine if len(mine) >= count else None

        return await until(find)

    async def until_job(self, client: Client, job_id: str, status: str) -> Any:
        async def find() -> Any:
            job = await client.get(f"/api/v1/export/jobs/{job_id}")
            return job if job["status"] == status else None

        return await until(find)

    async def until_deployment(self, client: Client, deployment_id: str, status: str) -> Any:
        async def find() -> Any:
            found = await client.get(f"/api/v1/deployments/{deployment_id}")
            return found if found["status"] == status else None

        return await until(find)


async def until(find: Callable[[], Awaitable[R | None]]) -> R:
    """The first answer that is not None."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await find()) is None:
            await asyncio.sleep(0.03)
        return found


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
