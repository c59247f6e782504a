"""Puts the worker together: consumer, launcher, cancellations, announcements, warm runs, health."""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from contracts import subjects
from contracts.events import ExportCancelledV1, ExportRequestedV1, PreflightRequestedV1
from contracts.vocabulary import ExportRoute
from export_worker.announce import Announcer, probe, taken_routes
from export_worker.launchers.subprocess import COMMAND, SubprocessLauncher
from export_worker.launchers.warm import WarmKeeper
from export_worker.preflights import Preflights
from export_worker.reactions import Exports
from export_worker.sandbox.seen import by_steps
from export_worker.settings import Settings, WorkerSettings
from servicekit import replay
from servicekit.bus import Bus
from servicekit.health import HealthServer
from servicekit.jobs import JobConsumer
from servicekit.objects import ObjectStore
from servicekit.sandbox import selftest
from servicekit.sandbox.bubblewrap import SandboxState
from servicekit.telemetry import Telemetry
from servicekit.workplace import Home

CANCELLED_SINCE = timedelta(hours=24)
PREFLIGHT_TRIES = 3
_log = logging.getLogger(__name__)


class App:
    """The running worker: `start`, then `stop`; `health_port` is where it answers."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus,
        store: ObjectStore,
        launcher: SubprocessLauncher,
        state: SandboxState,
        home: Home,
    ) -> None:
        self._home = home
        self._bus = bus
        self._store = store
        self._state = state
        self._launcher = launcher
        worker = settings.worker
        takes_code = state.available or worker.unsandboxed_checkpoints == "accept"
        announcement = probe(
            worker.id, slots=worker.slots, formats=worker.formats, sandbox=state, takes_code=takes_code
        )
        self._sandbox = announcement.sandbox
        self._routes = taken_routes(announcement)
        self._exports = Exports(launcher, bus, store, worker.id)
        self._consumer = JobConsumer(
            bus,
            event_type=ExportRequestedV1,
            routing=[str(name) for name in self._routes] or ["none"],
            durable=f"export-worker-{'-'.join(self._routes) or 'none'}",
            handler=self._exports.on_export_requested,
            on_exhausted=self._exports.on_exhausted,
            slots=worker.slots,
            ack_wait_s=worker.ack_wait_s,
            heartbeat_s=worker.heartbeat_s,
            max_deliver=worker.max_deliver,
            lease_key=lambda event, _: str(event.job_id),
            owner=worker.id,
        )
        self._preflights = self._preflight_consumer(worker)
        self._announcer = Announcer(bus, announcement, lambda: self._consumer.busy)
        warm = [name for name in worker.warm_frameworks if announcement.frameworks[name].available]
        keep = warm if worker.warm_runs and self._routes else []
        self._warm = WarmKeeper(launcher, keep, worker.warm_delay_s)
        checks = {"bus": bus.check, "store": store.check, "sandbox": self._check_sandbox}
        self._health = HealthServer(settings.http.host, settings.http.port, checks)
        self._stack = AsyncExitStack()

    @property
    def health_port(self) -> int:
        return self._health.port

    @property
    def warm_count(self) -> int:
        """Runs that wait for a job with their toolchain imported."""
        return self._launcher.warm_count

    async def start(self) -> None:
        """Connect and begin; with no format to make, only announce why."""
        stack = self._stack
        await stack.enter_async_context(self._health)
        await stack.enter_async_context(self._store)
        stack.push_async_callback(self._bus.stop)
        await self._bus.connect()
        stack.push_async_callback(self._launcher.stop)
        if self._routes:
            cancelled = replay.follow(
                self._bus, [ExportCancelledV1], self._exports.on_export_cancelled, since=CANCELLED_SINCE
            )
            stack.push_async_callback(cancelled.stop)
            await cancelled.caught_up()
            stack.push_async_callback(self._consumer.stop, 1.0)
            await self._consumer.start()
            if ExportRoute.ONNX in self._routes:  # what is looked at goes by way of ONNX
                stack.push_async_callback(self._preflights.stop, 1.0)
                await self._preflights.start()
        else:
            _log.error("this worker takes no jobs: it can make no format")
        stack.push_async_callback(self._warm.stop)
        self._warm.start()
        stack.push_async_callback(self._announcer.stop)
        await self._announcer.start()
        self._tell_sandbox()
        _log.info("worker takes %s; sandbox: %s", ", ".join(self._routes) or "nothing", self._sandbox)

    def _preflight_consumer(self, worker: WorkerSettings) -> JobConsumer[PreflightRequestedV1]:
        """Has a slot of its own beside the exports: who asks whether an export would work must not wait for one."""
        answers = Preflights(self._launcher, self._bus, self._store, worker)
        return JobConsumer(
            self._bus,
            event_type=PreflightRequestedV1,
            durable="export-worker-preflight",
            handler=answers.on_preflight_requested,
            on_exhausted=answers.on_exhausted,
            ack_wait_s=worker.ack_wait_s,
            heartbeat_s=worker.heartbeat_s,
            max_deliver=PREFLIGHT_TRIES,
            lease_key=lambda event, _: subjects.preflight_lease(event.preflight_id),
            owner=worker.id,
        )

    async def stop(self) -> None:
        """Take no more jobs, hand back what runs, leave no process and no announcement."""
        await self._stack.aclose()
        self._home.release()

    def _tell_sandbox(self) -> None:
        for name, how in self._state.barriers.items():
            if how:
                _log.error("sandbox barrier %s does not hold: %s", name, how)
            else:
                _log.info("sandbox barrier %s holds", name)
        if not self._state.available:
            _log.error("sandbox %s", self._sandbox)

    async def _check_sandbox(self) -> str:
        """A worker without a sandbox is ready for what it takes, and says what that is."""
        held = [name for name, how in self._state.barriers.items() if not how]
        return f"{self._sandbox}; proven: {', '.join(held)}" if held else self._sandbox


def build_app(
    settings: Settings,
    *,
    telemetry: Telemetry,
    environ: Mapping[str, str] = os.environ,
    state: SandboxState | None = None,
    launcher: SubprocessLauncher | None = None,
    command: tuple[str, ...] = COMMAND,
) -> App:
    """The worker with its parts; tests pass their own sandbox state, launcher, or command of a run."""
    home = Home(Path(settings.worker.work_dir), settings.worker.id)
    state = state or selftest.examine(settings.worker.sandbox, by_steps(), environ)
    if not state.available:
        environ = {**environ, "MODELPORT_SANDBOX": "off"}
    return App(
        settings,
        bus=Bus(settings.bus.nats_url, "export-worker", telemetry),
        store=ObjectStore(settings.s3),
        launcher=launcher or SubprocessLauncher(home.path, environ, command=command),
        state=state,
        home=home,
    )


@asynccontextmanager
async def running_app(settings: Settings, telemetry: Telemetry) -> AsyncIterator[App]:
    """The worker from its start to its stop, which also follows a start that fails."""
    app = build_app(settings, telemetry=telemetry)
    try:
        await app.start()
        yield app
    finally:
        await app.stop()
