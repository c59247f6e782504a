"""Wires the packager: bus, storage, cancellations, the consumer of exported models, health."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from contracts.errors import Permanent
from contracts.events import ExportCancelledV1, ModelExportedV1
from contracts.subjects import package_lease
from packager.cancellations import Cancellations
from packager.reactions import Reactions
from packager.settings import Settings
from servicekit.bus import Bus
from servicekit.health import HealthServer
from servicekit.jobs import JobConsumer
from servicekit.objects import ObjectStore
from servicekit.replay import follow
from servicekit.telemetry import Telemetry
from servicekit.workplace import Home

SERVICE = "packager"
DURABLE = "packager-models"
CANCELLATIONS_SINCE = timedelta(hours=24)
STOP_GRACE_S = 2.0


@asynccontextmanager
async def run_app(settings: Settings, telemetry: Telemetry) -> AsyncIterator[HealthServer]:
    """The running service; cancellations of the last day are known before the first job is taken."""
    home = _home(settings.work_dir)
    async with AsyncExitStack() as stack:
        stack.callback(home.release)
        bus = Bus(settings.nats_url, SERVICE, telemetry)
        stack.push_async_callback(bus.stop)
        await bus.connect()
        store = await stack.enter_async_context(ObjectStore(settings))
        cancellations = Cancellations()
        follower = follow(bus, [ExportCancelledV1], cancellations.on_cancelled, since=CANCELLATIONS_SINCE)
        stack.push_async_callback(follower.stop)
        checks = {"bus": bus.check, "storage": store.check}
        health = await stack.enter_async_context(HealthServer(settings.host, settings.port, checks))
        await follower.caught_up()

        reactions = Reactions(bus, store, cancellations, home.path, model_max_bytes=settings.model_max_bytes)
        consumer = JobConsumer(
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
        await consumer.start()
        stack.push_async_callback(consumer.stop, STOP_GRACE_S)
        yield health


def _home(path: str) -> Home:
    try:
        return Home(Path(path), SERVICE)
    except OSError as error:
        raise Permanent("invalid_settings", f"MODELPORT_WORK_DIR {path!r} cannot be used: {error.strerror}") from error
