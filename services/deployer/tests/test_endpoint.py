"""The whole deployer against real NATS, S3 and Triton."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from contracts import keys
from contracts.events.deployment import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentRequestedV1,
)
from contracts.vocabulary import DesiredState
from deployer.app import run_app
from deployer.settings import Settings
from deployer.triton import Triton
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.replay import follow
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server

pytestmark = pytest.mark.integration

FACTS = (DeploymentActivatedV1, DeploymentDeactivatedV1, DeploymentFailedV1)


class Facts:
    """Collects what the deployer states."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def on_fact(self, fact: Any, _meta: Any) -> None:
        self.seen.append(fact)

    async def next(self, count: int) -> list[Any]:
        """Waits until `count` facts are known."""
        async with asyncio.timeout(30):
            while len(self.seen) < count:
                await asyncio.sleep(0.02)
        return self.seen


class World:
    """Everything a test touches."""

    def __init__(self, bus: Bus, store: ObjectStore, triton: Triton, facts: Facts, settings: Settings) -> None:
        self.bus = bus
        self.store = store
        self.triton = triton
        self.facts = facts
        self.settings = settings

    async def request(self, request: DeploymentRequestedV1, model: bytes) -> None:
        await self.store.put_bytes(request.model.key, model)
        await self.bus.publish(request, subject_id=request.deployment_id, sequence=request.generation)


@pytest.fixture
async def world(
    bus: Bus, object_store: ObjectStore, s3_server: S3Server, nats_server: NatsServer, triton_server: Any
) -> AsyncIterator[World]:
    settings = Settings(
        nats_url=nats_server.url,
        s3_endpoint=s3_server.settings.s3_endpoint,
        s3_access_key=s3_server.settings.s3_access_key,
        s3_secret_key=s3_server.settings.s3_secret_key,
        port=0,
        triton_grpc_url=triton_server.grpc_url,
        triton_threads=1,
        reconcile_s=0.3,
        load_timeout_s=20.0,
    )
    facts = Facts()
    follower = follow(bus, FACTS, facts.on_fact, since="start")
    triton = Triton(triton_server.grpc_url, load_timeout_s=30)
    yield World(bus, object_store, triton, facts, settings)
    await follower.stop()
    for name in await triton.loaded():
        await triton.unload(name)
    await triton.close()


@asynccontextmanager
async def running(world: World, telemetry: Telemetry) -> AsyncIterator[str]:
    async with run_app(world.settings, telemetry) as health:
        yield f"http://127.0.0.1:{health.port}"


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_request_is_loaded_announced_unloaded_and_deleted(
    world: World, telemetry: Telemetry, request_for: Any, model: bytes
) -> None:
    request = request_for()
    name = keys.triton_model_name(request.deployment_id)
    async with running(world, telemetry) as url:
        ready = await asyncio.to_thread(urllib.request.urlopen, f"{url}/readyz")
        assert ready.status == 200
        await world.request(request, model)
        [activated] = await world.facts.next(1)
        assert isinstance(activated, DeploymentActivatedV1)
        assert (activated.triton_model, activated.model_version, activated.access) == (name, 1, request.access)
        assert name in await world.triton.loaded()
        stored = {item.key for item in await world.store.list(keys.triton_root(request.deployment_id))}
        root = f"triton-models/{request.deployment_id}"
        assert stored == {f"{root}/1/model.onnx", f"{root}/config.pbtxt"}

        await world.request(replace(request, generation=2, desired=DesiredState.INACTIVE), model)
        deactivated = (await world.facts.next(2))[1]
        assert isinstance(deactivated, DeploymentDeactivatedV1)
        assert not deactivated.deleted
        assert name not in await world.triton.loaded()

        await world.request(replace(request, generation=3), model)
        assert isinstance((await world.facts.next(3))[2], DeploymentActivatedV1)
        assert name in await world.triton.loaded()

        await world.request(replace(request, generation=4, desired=DesiredState.DELETED), model)
        deleted = (await world.facts.next(4))[3]
        assert isinstance(deleted, DeploymentDeactivatedV1)
        assert deleted.deleted
        assert not await world.store.list(keys.triton_root(request.deployment_id))


async def test_triton_that_was_killed_gets_its_models_back(
    world: World, telemetry: Telemetry, request_for: Any, model: bytes, triton_server: Any
) -> None:
    request = request_for()
    name = keys.triton_model_name(request.deployment_id)

    async def is_ready() -> bool:
        return name in await world.triton.loaded()

    async with running(world, telemetry):
        await world.request(request, model)
        await world.facts.next(1)
        await asyncio.to_thread(triton_server.restart)
        assert not await is_ready()
        await until(is_ready)
    assert len(world.facts.seen) == 1


async def test_deployer_that_was_killed_remembers_and_unloads_strangers(
    world: World, telemetry: Telemetry, request_for: Any, model: bytes, triton_server: Any
) -> None:
    kept, gone = request_for(), request_for()
    async with running(world, telemetry):
        await world.request(kept, model)
        await world.request(gone, model)
        await world.facts.next(2)
    await world.request(replace(gone, generation=2, desired=DesiredState.INACTIVE), model)
    await asyncio.to_thread(triton_server.restart)

    async def is_right() -> bool:
        return await world.triton.loaded() == {keys.triton_model_name(kept.deployment_id)}

    async with running(world, telemetry):
        await world.facts.next(3)
        await until(is_right)


async def test_stale_generation_changes_nothing(
    world: World, telemetry: Telemetry, request_for: Any, model: bytes
) -> None:
    request = request_for(generation=5)
    await world.request(request, model)
    await world.request(replace(request, generation=4, desired=DesiredState.DELETED), model)
    async with running(world, telemetry):
        other = request_for()
        await world.request(other, model)
        facts = await world.facts.next(2)
        assert {type(fact) for fact in facts} == {DeploymentActivatedV1}
        assert {fact.generation for fact in facts} == {5, 1}


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ({"model": lambda m: b"not a model"}, "deployment_failed", "SHA-256"),
        ({"output": "absent"}, "deployment_failed", ""),
    ],
)
async def test_model_that_cannot_be_served_is_failed_with_its_reason(
    world: World, telemetry: Telemetry, request_for: Any, model: bytes, damage: dict[str, Any], code: str, words: str
) -> None:
    request = request_for()
    if "output" in damage:
        spec = replace(request.metadata.output_spec["logits"], name="absent")
        request = replace(request, metadata=replace(request.metadata, output_spec={"logits": spec}))
    async with running(world, telemetry):
        await world.request(request, damage.get("model", lambda m: m)(model))
        [failed] = await world.facts.next(1)
    assert isinstance(failed, DeploymentFailedV1)
    assert failed.error.code == code
    assert words in failed.error.message
    assert "/tmp" not in failed.error.cause
    assert keys.triton_model_name(request.deployment_id) not in await world.triton.loaded()
