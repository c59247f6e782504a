"""What live workers can do now, from their announcements on the bus."""

import nats.errors
import nats.js.errors
from msgspec import MsgspecError, json

from contracts.capabilities import OTHER_POOL, Availability, WorkerAnnouncement, capability
from contracts.export_options import FLAVOR_ROUTES
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, ExportRoute, Framework
from servicekit.bus import Bus

TTL_S = 45.0
NOBODY = "no worker is running"
NONE_OF_IT = "none of the workers that are running is there for it"
NAMED = 3
"""So many workers are named at most where many are in the same way."""
FLAVORS = {route: flavor for flavor, route in FLAVOR_ROUTES.items()}
WANTED = {
    ExportRoute.TENSORRT: "a worker with an NVIDIA GPU and TensorRT",
    ExportRoute.TENSORRT_RTX: "a worker that builds TensorRT-RTX engines",
}


async def live(bus: Bus, framework: Framework) -> dict[ExportFormat, Availability]:
    """For every format whether a worker can make it now from this framework's models, and if not, why."""
    found = await announced(bus)
    if found is None:
        return dict.fromkeys(ExportFormat, Availability(available=False, reason="the bus does not answer"))
    return {export_format: availability(found, framework, export_format) for export_format in ExportFormat}


async def announced(bus: Bus) -> list[WorkerAnnouncement] | None:
    """All live workers; None where the bus does not answer, which says nothing about them."""
    try:
        return await announcements(bus)
    except (nats.errors.Error, OSError, RuntimeError):
        return None


async def announcements(bus: Bus) -> list[WorkerAnnouncement]:
    """All workers that have announced themselves within the bucket's time to live, by id."""
    bucket = await bus.kv(WORKERS, ttl=TTL_S, memory=True)
    try:
        keys = await bucket.keys()
    except nats.js.errors.NoKeysError:
        return []
    found = []
    for key in keys:
        try:
            entry = await bucket.get(key)
            found.append(json.decode(entry.value or b"", type=WorkerAnnouncement))
        except (nats.js.errors.KeyNotFoundError, MsgspecError):
            continue
    return sorted(found, key=lambda worker: worker.worker_id)


def availability(workers: list[WorkerAnnouncement], framework: Framework, export_format: ExportFormat) -> Availability:
    """Whether one worker can do both the framework and the format, and which flavours of it; else the first reason a worker gives."""
    cell = capability(framework, export_format)
    if not cell.supported:
        return Availability(available=False, reason=cell.reason)
    reasons: list[str] = []
    flavors: dict[str, str] = {}
    available = False
    for worker in workers:
        needed = _needed(worker, framework, export_format)
        faults = [f"{worker.worker_id}: {part.reason}" for part in needed if not part.available]
        available = available or not faults
        reasons += faults if needed[1].reason != OTHER_POOL else []
        for name, why in needed[1].flavors.items():
            told = faults[0] if faults else why and f"{worker.worker_id}: {why}"
            flavors[name] = flavors.get(name, told) and told
    reason = "" if available else reasons[0] if reasons else NONE_OF_IT if workers else NOBODY
    return Availability(available=available, reason=reason, flavors=flavors)


def can_take(workers: list[WorkerAnnouncement], framework: Framework, route: ExportRoute) -> bool:
    """Whether a worker makes this, busy or not."""
    return any(not _fault(worker, framework, route) for worker in workers)


def waits_for(workers: list[WorkerAnnouncement], framework: Framework, route: ExportRoute) -> str:
    """What a pending job of this route waits for, in words; empty where a worker is free to take it."""
    able = [worker for worker in workers if not _fault(worker, framework, route)]
    if any(worker.busy < worker.slots for worker in able):
        return ""
    if able:
        return f"a free worker: those that can take it are busy ({_named([worker.worker_id for worker in able])})"
    wanted = WANTED.get(route, f"a worker that makes {route} from {framework} models")
    return f"{wanted}; {_reasons(workers, framework, route)}"


def _reasons(workers: list[WorkerAnnouncement], framework: Framework, route: ExportRoute) -> str:
    """Why those that are there for this route cannot take it, each reason once; other pools are not spoken of."""
    faults: dict[str, list[str]] = {}
    for worker in workers:
        if (fault := _fault(worker, framework, route)) != OTHER_POOL:
            faults.setdefault(fault, []).append(worker.worker_id)
    told = "; ".join(f"{_named(ids)}: {fault}" for fault, ids in faults.items())
    return told or (NONE_OF_IT if workers else NOBODY)


def _named(ids: list[str]) -> str:
    more = len(ids) - NAMED
    return ", ".join(ids[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _needed(
    worker: WorkerAnnouncement, framework: Framework, export_format: ExportFormat
) -> tuple[Availability, Availability]:
    no_framework = Availability(available=False, reason=f"it does not load {framework}")
    no_format = Availability(available=False, reason=f"it does not make {export_format}")
    return worker.frameworks.get(framework, no_framework), worker.formats.get(export_format, no_format)


def _fault(worker: WorkerAnnouncement, framework: Framework, route: ExportRoute) -> str:
    """Why a worker cannot take a job of this route; empty where it can."""
    flavor = FLAVORS.get(route, "")
    loads, makes = _needed(worker, framework, ExportFormat.TENSORRT if flavor else ExportFormat(str(route)))
    if makes.reason == OTHER_POOL:
        return OTHER_POOL
    faults = [part.reason for part in (loads, makes) if not part.available]
    return faults[0] if faults else makes.flavors.get(flavor, "")
