"""After the bus has lost a stream: mark everything that is still wanted to be stated anew.

Services repeat the ids of their facts on purpose, so what the inbox remembers of a lost stream is forgotten with it.
"""

import logging
from contextlib import suppress
from uuid import UUID

import nats.errors
import nats.js.errors
from msgspec import MsgspecError, json
from msgspec.structs import replace
from nats.js.kv import KeyValue

from contracts.events import Event
from contracts.subjects import (
    LEASES,
    STREAMS,
    deployment_lease,
    export_lease,
    filter_subject,
    package_lease,
    stream_of,
)
from gateway.parts import Parts
from gateway.reactions import FACTS, durable
from gateway.store import overdue
from gateway.store.overdue import KnownAttempt, KnownGeneration
from servicekit.leases import KEEP, LeaseRecord
from servicekit.postgres import Connection, transaction

BUCKET = f"KV_{LEASES}"

_log = logging.getLogger(__name__)


async def notice(parts: Parts) -> None:
    """A stream, or the bucket of leases, that is younger than the one we remember has lost what it held."""
    try:
        await parts.bus.kv(LEASES, ttl=KEEP)
        names = (*(stream.name for stream in STREAMS), BUCKET)
        made = {name: (await parts.bus.jetstream.stream_info(name)).created for name in names}
    except nats.js.errors.NotFoundError:
        await parts.bus.declare()
        return
    except (nats.errors.Error, OSError) as error:
        _log.warning("the bus does not answer: %s", error or type(error).__name__)
        return
    async with transaction(parts.pool) as conn:
        lost = {name for name, at in made.items() if at and await overdue.remember_stream(conn, name, at)}
        await overdue.forget_inbox(conn, [durable(kind) for kind in FACTS if _stream(kind) in lost])
        if lost & {"EXPORT", BUCKET}:
            await release(parts, await overdue.forget_running(conn))
        if BUCKET in lost:
            await restore(parts, conn)
        if "DEPLOYMENT" in lost:
            await overdue.forget_observed(conn)
            await release_packages(parts, await overdue.unbuilt_packages(conn))
    if lost:
        told = ", ".join(sorted(lost))
        _log.error("the bus has lost what it held in %s: what is still wanted is stated again", told)


async def release(parts: Parts, attempts: list[KnownAttempt]) -> None:
    """Let workers and packagers take jobs again that are over for them, with all their tries.

    Attempts go on counting from what the database has heard of: a lease that began anew below that is raised, which ends
    whoever holds it. It runs before the jobs are committed as open: a crash in between repeats both.
    """
    bucket = await parts.bus.kv(LEASES)
    for known in attempts:
        for key in _leases(known):
            record, revision = await _look(bucket, key)
            if record is None and not known.attempt:
                continue
            found = record or _record(known)
            if record is None or found.state == "done" or found.attempt < known.attempt:
                attempt = max(found.attempt, known.attempt)
                fresh = replace(found, state="released", attempt=attempt, failures=0, token="")
                await _swap(bucket, key, fresh, revision)


async def release_packages(parts: Parts, unbuilt: list[KnownGeneration]) -> None:
    """Let packagers build again what they have done already, where their answer was lost with the stream."""
    bucket = await parts.bus.kv(LEASES)
    for known in unbuilt:
        key = deployment_lease(known.id, known.generation)
        record, revision = await _look(bucket, key)
        if record is not None and record.state == "done":
            await _swap(bucket, key, replace(record, state="released", failures=0, token=""), revision)


async def restore(parts: Parts, conn: Connection) -> None:
    """Mark what has ended as done in a bucket that was made anew: messages may come again, effects may not.

    Batch by batch, for the server ends a transaction that says nothing for long.
    """
    bucket, after = await parts.bus.kv(LEASES), UUID(int=0)
    while batch := await overdue.ended_attempts(conn, KEEP, after):
        for known in batch:
            for key in _leases(known):
                await _swap(bucket, key, replace(_record(known), state="done"), 0)
        after = batch[-1].id


def _leases(known: KnownAttempt) -> tuple[str, str]:
    return export_lease(known.id), package_lease(known.id)


def _record(known: KnownAttempt) -> LeaseRecord:
    return LeaseRecord(attempt=known.attempt, worker="", state="released", heartbeat=0.0, token="")


async def _look(bucket: KeyValue, key: str) -> tuple[LeaseRecord | None, int]:
    try:
        entry = await bucket.get(key)
        return json.decode(entry.value or b"", type=LeaseRecord), entry.revision or 0
    except (nats.js.errors.KeyNotFoundError, MsgspecError):
        return None, 0


async def _swap(bucket: KeyValue, key: str, record: LeaseRecord, revision: int) -> None:
    """Whoever wrote meanwhile knows better."""
    with suppress(nats.js.errors.KeyWrongLastSequenceError):
        await bucket.update(key, json.encode(record), last=revision)


def _stream(kind: type[Event]) -> str:
    return stream_of(filter_subject(kind))
