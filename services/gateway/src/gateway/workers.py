"""What live workers can do now, from their announcements on the bus."""

import nats.errors
import nats.js.errors
from msgspec import MsgspecError, json

from contracts.capabilities import Availability, WorkerAnnouncement, capability
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, Framework
from servicekit.bus import Bus

TTL_S = 45.0


async def live(bus: Bus, framework: Framework) -> dict[ExportFormat, Availability]:
    """For every format whether a worker can make it now from this framework's models, and if not, why."""
    try:
        found = await announcements(bus)
    except (nats.errors.Error, OSError, RuntimeError):
        return dict.fromkeys(ExportFormat, Availability(available=False, reason="the bus does not answer"))
    return {export_format: availability(found, framework, export_format) for export_format in ExportFormat}


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
    """Whether one worker can do both the framework and the format; else the first reason a worker gives."""
    cell = capability(framework, export_format)
    if not cell.supported:
        return Availability(available=False, reason=cell.reason)
    reasons = []
    for worker in workers:
        needed = (
            worker.frameworks.get(framework, Availability(available=False, reason=f"it does not load {framework}")),
            worker.formats.get(
                export_format, Availability(available=False, reason=f"it does not make {export_format}")
            ),
        )
        if all(part.available for part in needed):
            return Availability(available=True)
        reasons += [f"{worker.worker_id}: {part.reason}" for part in needed if not part.available]
    return Availability(available=False, reason=reasons[0] if reasons else "no worker is running")
