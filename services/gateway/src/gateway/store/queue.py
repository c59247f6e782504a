"""Jobs that wait for their turn, and the jobs whose turn has come."""

from uuid import UUID

from msgspec import Struct, convert

from contracts.tiers import TIERS
from contracts.vocabulary import ExportRoute, Tier
from gateway.queue import Waiting
from gateway.store.overdue import DueRequest
from servicekit.postgres import Connection

_LOCK = 7_061_300


class Line(Struct, frozen=True, kw_only=True):
    """Who waits, and how many jobs are under way by route and user."""

    waiting: list[Waiting]
    asked: dict[tuple[ExportRoute, UUID], int]


async def line(conn: Connection, ahead: int) -> Line:
    """The first `ahead` waiting jobs of every user and route; held until the transaction ends, so that turns are counted once.

    Take it last in a transaction: whoever waits for it must hold nothing that its holder might need.
    """
    if not await conn.fetchval(
        "SELECT EXISTS (SELECT 1 FROM export_jobs WHERE status = 'pending' AND released_at IS NULL)"
    ):
        return Line(waiting=[], asked={})
    await conn.execute("SELECT pg_advisory_xact_lock($1::int, hashtext(current_schema()))", _LOCK)
    waiting = await conn.fetch(
        "SELECT w.id, w.user_id, w.route, w.place, u.tier FROM (SELECT id, user_id, COALESCE(route, export_format) AS route, created_at, "
        "row_number() OVER (PARTITION BY user_id, COALESCE(route, export_format) ORDER BY created_at, id) AS place FROM export_jobs "
        "WHERE status = 'pending' AND released_at IS NULL) w JOIN users u ON u.id = w.user_id "
        "WHERE w.place <= $1 ORDER BY w.created_at, w.id",
        ahead,
    )
    asked = await conn.fetch(
        "SELECT COALESCE(route, export_format) AS route, user_id, count(*) AS jobs FROM export_jobs "
        "WHERE status IN ('pending', 'running') AND released_at IS NOT NULL GROUP BY 1, user_id"
    )
    return Line(
        waiting=[
            Waiting(
                id=row["id"],
                user_id=row["user_id"],
                route=ExportRoute(row["route"]),
                allowed=TIERS[Tier(row["tier"])].concurrent_exports,
                place=row["place"],
            )
            for row in waiting
        ],
        asked={(ExportRoute(row["route"]), row["user_id"]): row["jobs"] for row in asked},
    )


async def release(conn: Connection, job_id: UUID) -> DueRequest | None:
    """The request of a job whose turn has come; None where it was cancelled, or is held by somebody, meanwhile."""
    record = await conn.fetchrow(
        "UPDATE export_jobs SET released_at = now(), requested_at = now() WHERE id = (SELECT id FROM export_jobs "
        "WHERE id = $1 AND status = 'pending' AND released_at IS NULL FOR UPDATE SKIP LOCKED) "
        "RETURNING request, requests, traceparent",
        job_id,
    )
    return None if record is None else convert(dict(record), DueRequest)
