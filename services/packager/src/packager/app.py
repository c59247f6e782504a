"""Wires the packager: bus, storage, what is wanted no more, the consumers of exported models and of deployments, health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from contracts.errors import Permanent
from contracts.events import DeploymentRequestedV1, ExportCancelledV1, ModelExportedV1
from contracts.subjects import deployment_lease, package_lease
from contracts.vocabulary import DeploymentType
from packager.cancellations import Cancellations
from packager.deployments import Deployments
from packager.proofs import gates
from packager.provenance import signing
from packager.reactions import Reactions
from packager.settings import Settings
from packager.wishes import Wishes
from servicekit.bus import Bus
from servicekit.health import HealthServer
from servicekit.jobs import JobConsumer
from servicekit.objects import ObjectStore
from servicekit.replay import follow
from servicekit.telemetry import Telemetry
from servicekit.workplace import Home

SERVICE = "packager"
DURABLE = "packager-models"
DEPLOYMENTS = "packager-deployments"
REMEMBERED = timedelta(hours=24)
"""How far back cancellations and wishes are read at the start: nothing older is still being worked on."""
STOP_GRACE_S = 2.0


@asynccontextmanager
async def run_app(settings: Settings, telemetry: Telemetry) -> AsyncIterator[HealthServer]:
    """The running service; what was cancelled or overtaken in the last day is known before the first job is taken."""
    signer = signing.load(settings.signing_key_file)
    home = _home(settings.work_dir)
    async with AsyncExitStack() as stack:
        stack.callback(home.release)
        bus = Bus(settings.nats_url, SERVICE, telemetry)
        stack.push_async_callback(bus.stop)
        await bus.connect()
        store = await stack.enter_async_context(ObjectStore(settings))
        cancellations = Cancellations()
        wishes = Wishes()
        cancelled = follow(bus, [ExportCancelledV1], cancellations.on_cancelled, since=REMEMBERED)
        requested = follow(bus, [DeploymentRequestedV1], wishes.on_requested, since=REMEMBERED)
        followers = (cancelled, requested)
        for follower in followers:
            stack.push_async_callback(follower.stop)
        checks = {"bus": bus.check, "storage": store.check}
        health = await stack.enter_async_context(HealthServer(settings.host, settings.port, checks))
        for follower in followers:
            await follower.caught_up()

        gate = await asyncio.to_thread(gates.build, settings)
        reactions = Reactions(
            bus,
            store,
            cancellations,
            home.path,
            model_max_bytes=settings.model_max_bytes,
            signer=signer,
            gate=gate,
        )
        deployments = Deployments(
            bus,
            store,
            wishes,
            requested.heard_all,
            home.path,
            model_max_bytes=settings.model_max_bytes,
            base_image=settings.container_base_image,
            signer=signer,
            gate=gate,
        )
        for consumer in (_exports(bus, settings, reactions), _deployments(bus, settings, deployments)):
            await consumer.start()
            stack.push_async_callback(consumer.stop, STOP_GRACE_S)
        yield health


def _exports(bus: Bus, settings: Settings, reactions: Reactions) -> JobConsumer[ModelExportedV1]:
    return JobConsumer(
        bus,
        event_type=ModelExportedV1,
        durable=DURABLE,
        handler=reactions.on_model_exported,
        on_exhausted=reactions.on_exhausted,
        lease_key=lambda event, _meta: package_lease(event.job_id),
        slots=settings.slots,
        ack_wait_s=settings.ack_wait_s,
        heartbeat_s=settings.ack_wait_s / 3,
    )


def _deployments(bus: Bus, settings: Settings, deployments: Deployments) -> JobConsumer[DeploymentRequestedV1]:
    """Beside the exports, which it never keeps waiting."""
    return JobConsumer(
        bus,
        event_type=DeploymentRequestedV1,
        routing=[str(kind) for kind in DeploymentType if kind.is_built],
        durable=DEPLOYMENTS,
        handler=deployments.on_requested,
        on_exhausted=deployments.on_exhausted,
        lease_key=lambda request, _meta: deployment_lease(request.deployment_id, request.generation),
        slots=settings.slots,
        ack_wait_s=settings.ack_wait_s,
        heartbeat_s=settings.ack_wait_s / 3,
    )


def _home(path: str) -> Home:
    try:
        return Home(Path(path), SERVICE)
    except OSError as error:
        raise Permanent("invalid_settings", f"MODELPORT_WORK_DIR {path!r} cannot be used: {error.strerror}") from error
