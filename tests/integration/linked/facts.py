"""What a job has left behind everywhere: facts on the bus, its lease, its objects, its row and its story."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import msgspec
import nats
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts.events import Event, ExportFailedV1, ModelExportedV1, PackageBuiltV1
from contracts.subjects import LEASES, base_subject, export_lease, package_lease, stream_of
from modelport.models import ExportJob
from servicekit.leases import LeaseRecord
from tests.integration.chaos.archive import store_of
from tests.stack import Person, Stack

TERMINAL: tuple[type[Event], ...] = (ModelExportedV1, ExportFailedV1, PackageBuiltV1)


@dataclass(frozen=True)
class Traces:
    """`objects` are those in final places, by their key with their digest; `leases` with the revision of the last write."""

    told: list[tuple[str, int]]
    leases: dict[str, tuple[LeaseRecord, int]]
    objects: dict[str, str]
    row: ExportJob
    story: list[str]


def traces(stack: Stack, person: Person, job_id: UUID) -> Traces:
    """Everything about one job as it is now."""
    told, leases, objects = asyncio.run(_gather(stack, job_id))
    row = person.client.exports.get(job_id)
    story = [f"{state.event} {state.stage} {state.progress_percent}" for state in person.client.exports.follow(job_id)]
    return Traces(told, leases, objects, row, story)


def leases_of(stack: Stack, job_ids: list[UUID], key: Callable[[UUID], str] = export_lease) -> dict[UUID, LeaseRecord]:
    """The leases on exporting these jobs, or on packaging them; those that nobody has taken yet are left out."""
    return asyncio.run(_leases(stack, job_ids, key))


def are_settled(stack: Stack, job_ids: list[UUID]) -> bool:
    """Whether nobody has anything left to do for these jobs: their last writes are the leases of both hops."""
    found = [leases_of(stack, job_ids, key) for key in (export_lease, package_lease)]
    return all(job in leases and leases[job].state == "done" for leases in found for job in job_ids)


async def _leases(stack: Stack, job_ids: list[UUID], key: Callable[[UUID], str]) -> dict[UUID, LeaseRecord]:
    client = await nats.connect(stack.about.nats_url)
    found = {}
    try:
        bucket = await client.jetstream().key_value(LEASES)
        for job_id in job_ids:
            with suppress(nats.js.errors.KeyNotFoundError):
                entry = await bucket.get(key(job_id))
                found[job_id] = msgspec.json.decode(entry.value or b"", type=LeaseRecord)
    finally:
        await client.close()
    return found


async def _gather(
    stack: Stack, job_id: UUID
) -> tuple[list[tuple[str, int]], dict[str, tuple[LeaseRecord, int]], dict[str, str]]:
    client = await nats.connect(stack.about.nats_url)
    try:
        jetstream = client.jetstream()
        told = [entry for kind in TERMINAL for entry in await _told(jetstream, kind, job_id)]
        leases = {}
        bucket = await jetstream.key_value(LEASES)
        for key in (export_lease(job_id), package_lease(job_id)):
            entry = await bucket.get(key)
            leases[key] = msgspec.json.decode(entry.value or b"", type=LeaseRecord), int(entry.revision or 0)
    finally:
        await client.close()
    async with store_of(stack) as store:
        final = [item for item in await store.list(f"exports/{job_id}/") if "/attempts/" not in item.key]
        objects = {item.key: f"{item.size_bytes} {item.modified}" for item in final}
    return told, leases, objects


async def _told(jetstream: JetStreamContext, kind: type[Event], job_id: UUID) -> list[tuple[str, int]]:
    """The attempts in whose name a kind of fact about the job was published."""
    subject = base_subject(kind)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    reader = await jetstream.subscribe(subject, stream=stream_of(subject), ordered_consumer=True, config=config)
    info = await reader.consumer_info()
    left = info.num_pending + info.delivered.consumer_seq
    found = []
    for _ in range(left):
        body = (await reader.next_msg(timeout=30)).data
        if str(job_id).encode() in body:
            found.append((subject, msgspec.json.decode(body, type=kind).attempt))
    await reader.unsubscribe()
    return found
