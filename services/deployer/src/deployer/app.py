"""Wires the deployer: bus, storage, Triton, the consumer of requests, the reconciler, health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from contracts.errors import Transient
from contracts.events.deployment import DeploymentRequestedV1
from deployer.desired import FACTS, Desired
from deployer.reactions import Reactions
from deployer.reconciler import Reconciler
from deployer.settings import Settings
from deployer.strategies import PlatformEndpoint, strategies
from deployer.triton import Triton
from servicekit.bus import Bus
from servicekit.health import Check, HealthServer
from servicekit.jobs import JobConsumer
from servicekit.objects import ObjectStore
from servicekit.replay import Follower, follow
from servicekit.tasks import end
from servicekit.telemetry import Telemetry

SERVICE = "deployer"
DURABLE = "deployer-requests"
SLOTS = 2
ACK_WAIT_S = 9.0
"""How soon another deployer takes over from one that died."""


@asynccontextmanager
async def run_app(settings: Settings, telemetry: Telemetry) -> AsyncIterator[HealthServer]:
    """The running service: past requests are known before the first new one is taken."""
    async with AsyncExitStack() as stack:
        bus = Bus(settings.nats_url, SERVICE, telemetry)
        await bus.start()
        stack.push_async_callback(bus.stop)
        store = await stack.enter_async_context(ObjectStore(settings))
        triton = Triton(settings.triton_grpc_url, load_timeout_s=settings.load_timeout_s)
        stack.push_async_callback(triton.close)

        desired = Desired()
        follower = follow(bus, FACTS, desired.on_fact, since="start")
        stack.push_async_callback(follower.stop)
        checks = {"bus": bus.check, "storage": store.check, "triton": triton.check, "replay": _caught_up(follower)}
        health = await stack.enter_async_context(HealthServer(settings.host, settings.port, checks))
        await follower.caught_up()

        endpoint = PlatformEndpoint(
            store, triton, telemetry, threads=settings.triton_threads, model_max_bytes=settings.model_max_bytes
        )
        table = strategies(endpoint)
        reactions = Reactions(bus, desired, table)
        consumer = JobConsumer(
            bus,
            event_type=DeploymentRequestedV1,
            routing=[str(kind) for kind in table],
            durable=DURABLE,
            handler=reactions.on_requested,
            on_exhausted=reactions.on_exhausted,
            slots=SLOTS,
            ack_wait_s=ACK_WAIT_S,
            heartbeat_s=ACK_WAIT_S / 3,
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop, 2.0)
        reconciler = Reconciler(
            desired,
            triton,
            endpoint,
            telemetry,
            every_s=settings.reconcile_s,
            stranger_grace_s=settings.stranger_grace_s,
        )
        stack.push_async_callback(end, asyncio.create_task(reconciler.run()))
        yield health


def _caught_up(follower: Follower) -> Check:
    async def check() -> None:
        if not follower.is_caught_up:
            raise Transient("unavailable", "past deployments are still being read")

    return check
