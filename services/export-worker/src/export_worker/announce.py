"""What this worker can do, told every few seconds in the KV bucket `workers`; probed without importing any toolchain."""

import asyncio
import importlib.metadata
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec
import nats.errors

from contracts.capabilities import OTHER_POOL, Availability, WorkerAnnouncement
from contracts.export_options import FLAVOR_ROUTES
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, ExportRoute, Framework
from export_worker import registry
from export_worker.toolchains import FLAVORS, GPU_FLAVORS, NEEDS, PACKAGES, missing_modules, nvidia_devices
from servicekit import tasks
from servicekit.bus import Bus
from servicekit.sandbox.bubblewrap import SandboxState

PERIOD_S = 10.0
TTL_S = 45.0
NO_GPU = "no NVIDIA GPU on this worker"
Missing = Callable[[Iterable[str]], list[str]]
_log = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Installed toolchain packages."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def probe(
    worker_id: str,
    *,
    slots: int,
    formats: tuple[ExportFormat, ...],
    sandbox: SandboxState,
    takes_code: bool | None = None,
    missing: Missing = missing_modules,
    gpu: bool | None = None,
) -> WorkerAnnouncement:
    """The announcement of an idle worker; every format is there, each with its reason where it cannot be made.

    Without a sandbox a worker takes only what runs no code, unless `takes_code` says otherwise; `gpu` is looked for where not told.
    """
    takes_code = sandbox.available if takes_code is None else takes_code
    has_gpu = bool(nvidia_devices()) if gpu is None else gpu

    def of_framework(name: Framework) -> Availability:
        if name is Framework.ULTRALYTICS and not takes_code:
            reason = f"sandbox_unavailable: {sandbox.description}; its checkpoints run code when they are opened"
            return Availability(available=False, reason=reason)
        return availability(name)

    def availability(name: ExportFormat | Framework) -> Availability:
        reason = _absent(NEEDS[name], missing)
        return Availability(available=not reason, reason=reason)

    def of_format(name: ExportFormat) -> Availability:
        if name not in formats:
            return Availability(available=False, reason=OTHER_POOL)
        if not registry.route(name) or name not in registry.RUNTIMES:
            return Availability(available=False, reason=f"export to {name} is not available in this release")
        found = availability(name)
        return of_flavors(missing, gpu=has_gpu) if name is ExportFormat.TENSORRT and found.available else found

    return WorkerAnnouncement(
        worker_id=worker_id,
        slots=slots,
        busy=0,
        formats={name: of_format(name) for name in ExportFormat},
        frameworks={name: of_framework(name) for name in Framework},
        sandbox=told_sandbox(sandbox, takes_code=takes_code),
        barriers=sandbox.barriers,
        toolchain=versions(),
    )


def of_flavors(missing: Missing, *, gpu: bool) -> Availability:
    """Which TensorRT engines can be built: each flavour needs its own builder, and one of them the GPU that it builds for."""
    flavors = {name: _absent(modules, missing) for name, modules in FLAVORS.items()}
    for name in GPU_FLAVORS if not gpu else ():
        flavors[name] = "; ".join(part for part in (NO_GPU, flavors[name]) if part)
    available = not all(flavors.values())
    reason = "" if available else "; ".join(f"{name}: {why}" for name, why in flavors.items())
    return Availability(available=available, reason=reason, flavors=flavors)


def _absent(modules: Iterable[str], missing: Missing) -> str:
    absent = missing(modules)
    return f"not installed on this worker: {', '.join(absent)}" if absent else ""


def told_sandbox(sandbox: SandboxState, *, takes_code: bool) -> str:
    """How steps are isolated, and what follows where they are not."""
    if sandbox.available:
        return sandbox.description
    taken = (
        "takes every checkpoint, by MODELPORT_UNSANDBOXED_CHECKPOINTS=accept"
        if takes_code
        else "takes only safetensors"
    )
    return f"none: {sandbox.description}; {taken}"


def taken_formats(announcement: WorkerAnnouncement) -> list[ExportFormat]:
    """What the worker can make, in a stable order."""
    return sorted(name for name, state in announcement.formats.items() if state.available)


def taken_routes(announcement: WorkerAnnouncement) -> list[ExportRoute]:
    """What the worker listens to, in a stable order: of a format with flavours, those that it can build."""
    routes: set[ExportRoute] = set()
    for name in taken_formats(announcement):
        flavors = announcement.formats[name].flavors
        able = {FLAVOR_ROUTES[flavor] for flavor, why in flavors.items() if not why}
        routes |= able if flavors else {ExportRoute(str(name))}
    return sorted(routes)


class Announcer:
    """Repeats the announcement with the present number of busy slots; takes it back at the end."""

    def __init__(self, bus: Bus, announcement: WorkerAnnouncement, busy: Callable[[], int]) -> None:
        self._bus = bus
        self._announcement = announcement
        self._busy = busy
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Announce once, then go on in the background."""
        await self._put()
        self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)
        with suppress(nats.errors.Error, OSError):
            await (await self._bucket()).delete(_key(self._announcement.worker_id))

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._put()
            except (nats.errors.Error, OSError) as error:
                _log.warning("not announced: %s", error or type(error).__name__)

    async def _put(self) -> None:
        fresh = msgspec.structs.replace(self._announcement, busy=self._busy())
        await (await self._bucket()).put(_key(fresh.worker_id), msgspec.json.encode(fresh))

    async def _bucket(self) -> "nats.js.kv.KeyValue":
        return await self._bus.kv(WORKERS, ttl=TTL_S, memory=True)


def _key(worker_id: str) -> str:
    """A worker's id in the letters that a key may have."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_=") else "_" for c in worker_id)
