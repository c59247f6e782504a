"""The five services as processes of the simulation: their real handlers, wired to what stands in for servers."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from contracts.events import ExportCancelledV1, ExportRequestedV1, ModelExportedV1
from contracts.events.deployment import DeploymentRequestedV1
from contracts.keys import ObjectRef, export_file
from contracts.subjects import package_lease
from deployer import desired as deployer_desired
from deployer.desired import Desired
from deployer.reactions import Reactions as Deployments
from deployer.reconciler import Reconciler as TritonReconciler
from deployer.strategies import strategies
from export_worker.reactions import Exports
from gateway import reactions
from gateway.parts import Parts
from gateway.reconciler import Reconciler
from inference_proxy import routes as proxy_routes
from inference_proxy.routes import RouteTable
from packager.cancellations import Cancellations
from packager.export_package import Stored
from packager.reactions import Reactions as Packages
from servicekit.jobs import JobConsumer
from servicekit.outbox import Relay

from .broker import Lost, SimBus
from .clock import Process
from .machines import SimLauncher, SimTriton
from .readers import follow
from .tables import SimPool
from .world import SETTINGS, Store, World

ACK_WAIT_S = 9.0
MAX_DELIVER = 4
ROUND_S = 15.0


async def gateway(process: Process, world: World) -> None:
    """Reactions, relay and reconciler."""
    pool: Any = SimPool(process, world.database)
    bus = SimBus(process, world.broker, "gateway")
    parts = Parts(
        settings=SETTINGS,
        telemetry=bus.telemetry,
        pool=pool,
        bus=bus,
        objects=world.objects,
        progress=world.objects,
        traces=world.objects,
    )
    reactions.subscribe(parts)
    for item in bus._subscriptions:
        process.start(lambda item=item: _react(bus, item))
    process.start(lambda: _relay(Relay(pool, bus.jetstream), world))
    reconciler = Reconciler(parts)
    await _again(reconciler.once, ROUND_S)


async def _react(bus: SimBus, item: Any) -> None:
    from servicekit.consumers import durable_config
    from servicekit.jobs import PullConsumer

    config = durable_config(item.durable, [item.subject], ack_wait_s=item.ack_wait_s, max_ack_pending=256)
    consumer = PullConsumer(bus.jetstream, item.stream, config)
    await consumer.declare()
    while True:
        try:
            for message in await consumer.fetch(1, 1.0):
                await item.handle(message)
        except Lost:
            continue


async def _relay(relay: Relay, world: World) -> None:
    while True:
        await world.database.written.wait()
        try:
            await relay.flush()
        except (OSError, Lost):
            await asyncio.sleep(0.5)
        if not world.database.state.outbox:
            world.database.written.clear()
        else:
            await asyncio.sleep(0.1)


async def _again(once: Callable[[], Awaitable[object]], every_s: float) -> None:
    """A background loop as the services have it: what it did not expect, it survives."""
    while True:
        try:
            await once()
        except Exception as error:
            del error
        await asyncio.sleep(every_s)


async def worker(process: Process, world: World) -> None:
    bus = SimBus(process, world.broker, "export-worker")
    launcher: Any = SimLauncher(process, world, bus)
    store: Any = None
    exports = Exports(launcher, bus, store, process.name)
    process.start(lambda: follow(bus, [ExportCancelledV1], exports.on_export_cancelled))
    await JobConsumer(
        bus,
        event_type=ExportRequestedV1,
        routing=["onnx"],
        durable="export-worker-onnx",
        handler=exports.on_export_requested,
        on_exhausted=exports.on_exhausted,
        ack_wait_s=ACK_WAIT_S,
        heartbeat_s=ACK_WAIT_S / 3,
        max_deliver=MAX_DELIVER,
        lease_key=lambda event, _: str(event.job_id),
        owner=process.name,
    ).start()


class SimPackages(Packages):
    """The packager's reactions; only the archive is make-believe: its content is the attempt that it was made of."""

    def __init__(self, process: Process, world: World, bus: SimBus, cancellations: Cancellations) -> None:
        store: Any = Store(process, world)
        super().__init__(bus, store, cancellations, Path("/dev/null"), model_max_bytes=1 << 30)
        self._process, self._world = process, world

    async def _build(self, event: ModelExportedV1, lease: Any, _: Path) -> Stored:
        content = await self._world.take(self._process, event.model.key)
        await asyncio.sleep(self._world.rng.expovariate(1.0))
        await lease.heartbeat()
        key = export_file(event.job_id, "export-package.zip")
        await self._world.put(self._process, key, content)
        package = ObjectRef(key=key, sha256=content, size_bytes=1)
        return Stored(metadata=event.metadata, package=package, model=package, parity_report=package)


async def packager(process: Process, world: World) -> None:
    bus = SimBus(process, world.broker, "packager")
    cancellations = Cancellations()
    process.start(lambda: follow(bus, [ExportCancelledV1], cancellations.on_cancelled))
    made = SimPackages(process, world, bus, cancellations)
    await JobConsumer(
        bus,
        event_type=ModelExportedV1,
        durable="packager-models",
        handler=made.on_model_exported,
        on_exhausted=made.on_exhausted,
        lease_key=lambda event, _: package_lease(event.job_id),
        ack_wait_s=ACK_WAIT_S,
        heartbeat_s=ACK_WAIT_S / 3,
        max_deliver=MAX_DELIVER,
        owner=process.name,
    ).start()


async def deployer(process: Process, world: World) -> None:
    bus = SimBus(process, world.broker, "deployer")
    desired = Desired()
    process.start(lambda: follow(bus, deployer_desired.FACTS, desired.on_fact))
    await asyncio.sleep(0.5)
    triton: Any = SimTriton(process, world)
    made = Deployments(bus, desired, strategies(triton))
    await JobConsumer(
        bus,
        event_type=DeploymentRequestedV1,
        routing=["platform_endpoint"],
        durable="deployer-requests",
        handler=made.on_requested,
        on_exhausted=made.on_exhausted,
        slots=2,
        ack_wait_s=ACK_WAIT_S,
        heartbeat_s=ACK_WAIT_S / 3,
        max_deliver=MAX_DELIVER,
        owner=process.name,
    ).start()
    reconciler = TritonReconciler(desired, triton, triton, bus.telemetry, every_s=ROUND_S, stranger_grace_s=math.inf)
    await _again(reconciler.once, ROUND_S)


async def proxy(process: Process, world: World) -> None:
    """The routes alone; every fact is shown to the promises."""
    bus = SimBus(process, world.broker, "inference-proxy")
    table = RouteTable(load=lambda fact, _: SimpleNamespace(name=fact.triton_model))
    watch = world.promises.watch_routes(process.name, table)

    async def on_fact(fact: Any, meta: Any) -> None:
        await table.on_fact(fact, meta)
        watch(fact)

    world.tables[process.name] = table
    await follow(bus, proxy_routes.FACTS, on_fact)


SERVICES: dict[str, Callable[[Process, World], Coroutine[Any, Any, None]]] = {
    "gateway-1": gateway,
    "gateway-2": gateway,
    "worker-1": worker,
    "worker-2": worker,
    "packager-1": packager,
    "packager-2": packager,
    "deployer-1": deployer,
    "proxy-1": proxy,
    "proxy-2": proxy,
}
