"""A running gateway seen from outside: REST with a token, and the bus."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import httpx
import msgspec
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts import keys
from contracts.envelope import event_id
from contracts.events import DeploymentRequestedV1, Event, ExportRequestedV1
from contracts.subjects import filter_subject, stream_of
from gateway.parts import Parts
from gateway.testing.facts import Worker

PATIENCE_S = 20.0
R = TypeVar("R")
E = TypeVar("E", bound=Event)


class Client:
    """REST with one token; answers are decoded JSON, refusals are `(status, code)` by `refusal`."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self.token = token

    async def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})} if self.token else (headers or {})
        return await self.http.request(method, path, json=body, headers=sent)

    async def get(self, path: str) -> Any:
        return _json(await self.send("GET", path))

    async def post(self, path: str, body: object = None, key: str | None = None) -> Any:
        return _json(await self.send("POST", path, body, {"Idempotency-Key": key} if key else None))

    async def refusal(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and code of an answer that must be a problem."""
        response = await self.send(method, path, body)
        assert response.headers["content-type"].startswith("application/problem+json"), response.text
        return response.status_code, response.json()["code"]


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

    async def stated(self, event_type: type[E]) -> list[E]:
        """Every event of a type that was published so far."""
        subject = filter_subject(cast("type[Event]", event_type))
        return [msgspec.json.decode(body, type=event_type) for body in await self.messages(subject)]

    async def requested(self, job_id: str) -> ExportRequestedV1:
        """The first request for a job, once it is on the bus."""

        async def find() -> ExportRequestedV1 | None:
            found = await self.stated(ExportRequestedV1)
            return next((event for event in found if str(event.job_id) == job_id), None)

        return await until(find)

    async def wishes(self, deployment_id: str, count: int = 1) -> list[DeploymentRequestedV1]:
        """What was asked of the deployer about a deployment, once it is `count` wishes."""

        async def find() -> list[DeploymentRequestedV1] | None:
            found = await self.stated(DeploymentRequestedV1)
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
        while True:
            found = await find()
            if found is not None:
                return found
            await asyncio.sleep(0.03)


def _json(response: httpx.Response) -> Any:
    assert response.status_code < 300, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json() if response.content else None
