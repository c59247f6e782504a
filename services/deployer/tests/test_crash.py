"""A deployer that is killed in the middle of a job loses nothing."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import keys
from contracts.events.deployment import DeploymentActivatedV1, DeploymentFailedV1
from deployer.triton import Triton
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.replay import follow
from servicekit.servers import ServerCommand, free_ports
from servicekit.testing import NatsServer, S3Server, Server

pytestmark = pytest.mark.integration


@pytest.fixture
def deployer(nats_server: NatsServer, s3_server: S3Server, triton_server: Any, tmp_path: Path) -> Iterator[Server]:
    """`python -m deployer` as a process, not started yet."""
    (port,) = free_ports(1)
    command = ServerCommand(
        name="deployer",
        argv=(sys.executable, "-m", "deployer"),
        cwd=str(tmp_path),
        port=port,
        env={
            "MODELPORT_NATS_URL": nats_server.url,
            "MODELPORT_S3_ENDPOINT": s3_server.settings.s3_endpoint,
            "MODELPORT_S3_ACCESS_KEY": s3_server.settings.s3_access_key,
            "MODELPORT_S3_SECRET_KEY": s3_server.settings.s3_secret_key,
            "MODELPORT_TRITON_GRPC_URL": f"grpc://{triton_server.grpc_url}",
            "MODELPORT_PORT": str(port),
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    server = Server(command, tmp_path / "deployer.log")
    yield server
    server.stop()


async def test_killed_deployer_finishes_after_its_restart(
    deployer: Server, bus: Bus, object_store: ObjectStore, triton_server: Any, request_for: Any, model: bytes
) -> None:
    requests = [request_for() for _ in range(4)]
    for one in requests:
        await object_store.put_bytes(one.model.key, model)
    seen: list[Any] = []

    async def on_fact(fact: Any, _meta: Any) -> None:
        seen.append(fact)

    follower = follow(bus, (DeploymentActivatedV1, DeploymentFailedV1), on_fact, since="start")
    await asyncio.to_thread(deployer.start)
    for one in requests:
        await bus.publish(one, subject_id=one.deployment_id, sequence=one.generation)
    async with asyncio.timeout(20):
        while not seen:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(deployer.restart)
    async with asyncio.timeout(40):
        while len({fact.deployment_id for fact in seen}) < len(requests):
            await asyncio.sleep(0.05)
    await follower.stop()
    assert all(isinstance(fact, DeploymentActivatedV1) for fact in seen)
    assert len(seen) == len(requests)
    triton = Triton(triton_server.grpc_url, load_timeout_s=20)
    assert {keys.triton_model_name(one.deployment_id) for one in requests} <= await triton.loaded()
    for one in requests:
        await triton.unload(keys.triton_model_name(one.deployment_id))
    await triton.close()
