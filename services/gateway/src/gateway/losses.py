"""After the bus has lost a stream: mark everything that is still wanted to be stated anew.

Services repeat the ids of their facts on purpose, so what the inbox remembers of a lost stream is forgotten with it.
"""

import logging
from uuid import UUID

import nats.errors
import nats.js.errors
from msgspec import MsgspecError, json
from msgspec.structs import replace

from contracts.events import Event
from contracts.subjects import LEASES, STREAMS, export_lease, filter_subject, package_lease, stream_of
from gateway.parts import Parts
from gateway.reactions import FACTS, durable
from gateway.store import overdue
from servicekit.leases import LeaseRecord
from servicekit.postgres import transaction

_log = logging.getLogger(__name__)


async def notice(parts: Parts) -> None:
    """A stream that is younger than the one we remember has lost its messages."""
    try:
        made = {s.name: (await parts.bus.jetstream.stream_info(s.name)).created for s in STREAMS}
    except (nats.errors.Error, OSError) as error:
        _log.warning("the bus does not answer: %s", error or type(error).__name__)
        return
    async with transaction(parts.pool) as conn:
        lost = [name for name, at in made.items() if at and await overdue.remember_stream(conn, name, at)]
        await overdue.forget_inbox(conn, [durable(kind) for kind in FACTS if _stream(kind) in lost])
        if "EXPORT" in lost:
            await release(parts, await overdue.forget_running(conn))
        if "DEPLOYMENT" in lost:
            await overdue.forget_observed(conn)
    if lost:
        _log.error("the bus has lost the messages of %s: what is still wanted is stated again", ", ".join(lost))


async def release(parts: Parts, job_ids: list[UUID]) -> None:
    """Let workers and packagers take jobs again that are over for them, with all their tries; attempts keep counting.

    It runs before the jobs are committed as open: a crash in between repeats both, instead of forgetting the leases.
    """
    if not job_ids:
        return
    bucket = await parts.bus.kv(LEASES)
    for key in (name(job_id) for job_id in job_ids for name in (export_lease, package_lease)):
        try:
            entry = await bucket.get(key)
            record = json.decode(entry.value or b"", type=LeaseRecord)
            if record.state == "done":
                await bucket.update(
                    key, json.encode(replace(record, state="released", failures=0)), last=entry.revision
                )
        except (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyWrongLastSequenceError, MsgspecError):
            continue


def _stream(kind: type[Event]) -> str:
    return stream_of(filter_subject(kind))
