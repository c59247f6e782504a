"""Who owns what lies in the store and in the bucket of leases."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from contracts.vocabulary import ExportStatus
from gateway.sweep import EndedJob
from servicekit.postgres import Connection, Pool


async def jobs(conn: Connection | Pool, ids: Sequence[UUID]) -> dict[UUID, EndedJob]:
    """The jobs among these ids, with the keys that their rows name."""
    records = await conn.fetch(
        "SELECT id, status, completed_at, model->>'key' AS model, package->>'key' AS package, "
        "parity_report->>'key' AS report, log->>'key' AS log FROM export_jobs WHERE id = ANY($1::uuid[])",
        ids,
    )
    named = ("model", "package", "report", "log")
    return {
        row["id"]: EndedJob(
            status=ExportStatus(row["status"]),
            ended_at=row["completed_at"],
            keeps=frozenset(row[name] for name in named if row[name]),
        )
        for row in records
    }


async def deployments(conn: Connection | Pool, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those among these ids that exist and are not deleted."""
    sql = "SELECT id FROM deployment_targets WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL"
    return frozenset(row["id"] for row in await conn.fetch(sql, ids))


async def checkpoints(conn: Connection | Pool, uris: Sequence[str]) -> frozenset[str]:
    """Those among these addresses that trainings were registered from."""
    sql = "SELECT DISTINCT checkpoint_path FROM training_jobs WHERE checkpoint_path = ANY($1::text[])"
    return frozenset(row["checkpoint_path"] for row in await conn.fetch(sql, uris))


async def ended(conn: Connection | Pool, ids: Sequence[UUID], since: timedelta) -> frozenset[UUID]:
    """Those among these ids whose jobs ended so long ago."""
    sql = "SELECT id FROM export_jobs WHERE id = ANY($1::uuid[]) AND completed_at < now() - $2::interval"
    return frozenset(row["id"] for row in await conn.fetch(sql, ids, since))
