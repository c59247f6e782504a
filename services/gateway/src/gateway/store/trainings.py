"""Finished trainings: where a checkpoint lies and what it is."""

from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct, convert

from contracts.vocabulary import Framework, TaskType
from gateway.store import pages
from servicekit.postgres import Connection, Pool


class TrainingJob(Struct, frozen=True, kw_only=True):
    """One registered training."""

    id: UUID
    user_id: UUID
    framework: Framework
    task_type: TaskType
    model_name: str
    checkpoint_path: str
    classes: list[str] | None = None
    config: dict[str, object] | None = None
    created_at: datetime


_SELECT = (
    "SELECT id, user_id, framework, task_type, model_name, checkpoint_path, classes, config, created_at "
    "FROM training_jobs"
)


async def insert(conn: Connection, training: TrainingJob) -> bool:
    """False where a training of this id exists already."""
    status = await conn.execute(
        "INSERT INTO training_jobs (id, user_id, framework, task_type, model_name, checkpoint_path, classes, config, "
        "created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        training.id,
        training.user_id,
        training.framework,
        training.task_type,
        training.model_name,
        training.checkpoint_path,
        training.classes,
        training.config,
        training.created_at,
    )
    return status == "INSERT 0 1"


async def get(conn: Connection | Pool, user_id: UUID, training_id: UUID) -> TrainingJob | None:
    return _read(await conn.fetchrow(f"{_SELECT} WHERE id = $1 AND user_id = $2", training_id, user_id))


async def lock(conn: Connection, training_id: UUID) -> None:
    """Whoever changes what holds once per training (the version, the default) waits here."""
    await conn.execute("SELECT 1 FROM training_jobs WHERE id = $1 FOR NO KEY UPDATE", training_id)


async def next_version(conn: Connection, training_id: UUID) -> int:
    """Count up under the row's lock; a transaction that rolls back leaves no gap."""
    sql = "UPDATE training_jobs SET last_version = last_version + 1 WHERE id = $1 RETURNING last_version"
    return int(await conn.fetchval(sql, training_id))


async def page(conn: Connection | Pool, query: pages.Query) -> pages.Page[TrainingJob]:
    return await pages.fetch(conn, _SELECT, query, lambda record: convert(dict(record), TrainingJob))


def _read(record: asyncpg.Record | None) -> TrainingJob | None:
    return None if record is None else convert(dict(record), TrainingJob)
