"""Reads PostgreSQL, the bus, the store and Triton after the storm, and names everything that was lost or is there twice."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import httpx
import msgspec
import nats

from contracts import keys
from contracts.events import Event, ModelExportedV1, PackageBuiltV1
from contracts.subjects import base_subject, stream_of
from contracts.tiers import TIERS
from embedded.secrets import load_or_create
from embedded.services import dsn
from tests.integration.chaos.archive import store_of
from tests.integration.chaos.load import Ledger
from tests.stack import Stack


@dataclass(frozen=True)
class Findings:
    """One sentence for each thing that was lost, and for each that happened twice."""

    lost: list[str]
    doubled: list[str]


@dataclass(frozen=True)
class Run:
    """How long a job took from its request to its end, by the database's clock."""

    job_id: UUID
    training_id: UUID
    attempt: int
    seconds: float


async def audit(stack: Stack, ledger: Ledger, user_id: str) -> Findings:
    """Everything that the clients were told against everything that the servers hold."""
    database = await asyncpg.connect(dsn(stack.ports, load_or_create(stack.home / "secrets.json")))
    try:
        rows = await database.fetch("SELECT * FROM gateway.export_jobs WHERE user_id = $1", UUID(user_id))
        lost = [*_lost(ledger, rows), *await _not_stored(stack, rows)]
        doubled = [
            *_ghosts(ledger, rows),
            *_versions(rows),
            *await _ends(database, rows),
            *await _packages(stack, rows),
            *await _deployments(stack, database, ledger, user_id),
            *await _bills(database, ledger, user_id),
        ]
    finally:
        await database.close()
    return Findings(lost, doubled)


async def runs(stack: Stack, user_id: str) -> list[Run]:
    """How long each finished job took."""
    database = await asyncpg.connect(dsn(stack.ports, load_or_create(stack.home / "secrets.json")))
    sql = (
        "SELECT id, training_job_id, attempt, extract(epoch FROM completed_at - created_at)::float8"
        " FROM gateway.export_jobs WHERE user_id = $1 AND completed_at IS NOT NULL ORDER BY created_at"
    )
    try:
        return [Run(*row) for row in await database.fetch(sql, UUID(user_id))]
    finally:
        await database.close()


def _lost(ledger: Ledger, rows: list[asyncpg.Record]) -> list[str]:
    ends = {row["id"]: row["status"] for row in rows}
    wanted = [job.id for job in ledger.acknowledged.values()]
    return [f"job {one} is {ends.get(one, 'gone')}" for one in wanted if ends.get(one) != "completed"]


def _ghosts(ledger: Ledger, rows: list[asyncpg.Record]) -> list[str]:
    """Each request made one job, and each job was asked for."""
    asked = Counter(job.id for job in ledger.acknowledged.values())
    ghosts = [f"job {row['id']} was not asked for" for row in rows if row["id"] not in asked]
    return ghosts + [f"job {one} answers {times} requests" for one, times in asked.items() if times > 1]


def _versions(rows: list[asyncpg.Record]) -> list[str]:
    """The versions of each training count 1, 2, 3, and exactly one of them is the default."""
    found = []
    for training in {row["training_job_id"] for row in rows}:
        own = [row for row in rows if row["training_job_id"] == training]
        numbers, defaults = sorted(row["version"] for row in own), sum(row["is_default"] for row in own)
        if numbers != list(range(1, len(own) + 1)):
            found.append(f"training {training} has the versions {numbers}")
        if defaults != 1:
            found.append(f"training {training} has {defaults} defaults")
    return found


async def _ends(database: asyncpg.Connection, rows: list[asyncpg.Record]) -> list[str]:
    """Each job was told to have ended once."""
    sql = (
        "SELECT job_id, count(*) FROM gateway.job_events WHERE name IN ('completed', 'failed', 'cancelled') GROUP BY 1"
    )
    told = {row[0]: row[1] for row in await database.fetch(sql)}
    return [f"job {row['id']} ended {told.get(row['id'], 0)} times" for row in rows if told.get(row["id"]) != 1]


async def _packages(stack: Stack, rows: list[asyncpg.Record]) -> list[str]:
    """Each job has one package on the bus: one fact, however often it was published."""
    built = await _facts(stack, PackageBuiltV1)
    exported = await _facts(stack, ModelExportedV1)
    found = []
    for row in rows:
        if (count := len(built.get(row["id"], ()))) != 1:
            found.append(f"job {row['id']} has {count} packages")
        if len(exported.get(row["id"], ())) < 1:
            found.append(f"job {row['id']} was packaged and never exported")
    return found


async def _facts(stack: Stack, kind: type[Event]) -> dict[UUID, set[str]]:
    """The message ids of a kind of fact by job, as they lie in the stream."""
    client = await nats.connect(stack.about.nats_url)
    try:
        jetstream, subject = client.jetstream(), base_subject(kind)
        stream = stream_of(subject)
        counted = (await jetstream.stream_info(stream, subjects_filter=subject)).state.subjects or {}
        reader = await jetstream.subscribe(subject, stream=stream, ordered_consumer=True)
        found: dict[UUID, set[str]] = {}
        for _ in range(counted.get(subject, 0)):
            message = await reader.next_msg(timeout=30)
            job_id = msgspec.json.decode(message.data, type=kind).job_id
            found.setdefault(job_id, set()).add((message.headers or {})["Nats-Msg-Id"])
        return found
    finally:
        await client.close()


async def _not_stored(stack: Stack, rows: Iterable[asyncpg.Record]) -> list[str]:
    """Each finished job's package lies in the store with the bytes that its row names."""
    async with store_of(stack) as store:
        listed = await store.list("exports/")
    sizes = {item.key: item.size_bytes for item in listed}
    found = []
    for row in rows:
        package = msgspec.json.decode(row["package"] or "null", type=keys.ObjectRef | None)
        if package is None or sizes.get(package.key) != package.size_bytes:
            found.append(f"the package of job {row['id']} is not in the store")
    return found


async def _deployments(stack: Stack, database: asyncpg.Connection, ledger: Ledger, user_id: str) -> list[str]:
    """Each request made one deployment, which is active, and Triton serves these and no others, each once."""
    sql = "SELECT id, status, generation FROM gateway.deployment_targets WHERE user_id = $1"
    rows = await database.fetch(sql, UUID(user_id))
    found = [f"deployment {row['id']} is {row['status']}" for row in rows if row["status"] != "active"]
    asked = sorted(ledger.deployed.values())
    if sorted(row["id"] for row in rows) != asked:
        found.append(f"{len(rows)} deployments for {len(asked)} requests")
    answer = httpx.get(f"{stack.about.triton_url}/v2/models/stats").json()
    loaded = Counter(model["name"] for model in answer["model_stats"])
    if loaded != Counter(keys.triton_model_name(one) for one in asked):
        found.append(f"Triton serves {dict(loaded)} for {len(asked)} deployments")
    events = (
        "SELECT deployment_target_id, count(*) FROM gateway.deployment_history WHERE event_type = 'deployed' GROUP BY 1"
    )
    told = {row[0]: row[1] for row in await database.fetch(events)}
    return found + [f"deployment {one} was activated {told.get(one, 0)} times" for one in asked if told.get(one) != 1]


async def _bills(database: asyncpg.Connection, ledger: Ledger, user_id: str) -> list[str]:
    """No more is billed than was answered, and the month's ledger is below its limit."""
    sql = "SELECT id, request_count FROM gateway.deployment_targets WHERE user_id = $1"
    billed = {row[0]: row[1] for row in await database.fetch(sql, UUID(user_id))}
    found = [
        f"deployment {one} answered {answers} calls and billed {billed.get(one, 0)}"
        for one, answers in ledger.answered.items()
        if billed.get(one, 0) > answers
    ]
    tier = await database.fetchval("SELECT tier FROM gateway.users WHERE id = $1", UUID(user_id))
    month = datetime.now(UTC).date().replace(day=1)
    used = await database.fetchval(
        "SELECT used FROM quota.ledger WHERE user_id = $1 AND month = $2", UUID(user_id), month
    )
    limit = TIERS[tier].requests_per_month
    if limit is not None and (used or 0) > limit:
        found.append(f"the month has {used} of {limit} requests")
    return found
