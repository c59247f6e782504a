"""The monthly ledger in PostgreSQL: every SQL statement of this service."""

from collections.abc import Mapping
from datetime import date, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from uuid import UUID

import asyncpg
from msgspec import Struct

from contracts.errors import Transient
from servicekit.postgres import UNREACHABLE, Pool

SCHEMA = "quota"

RENEW = "SELECT granted, ceiling, remaining, lost FROM renew($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
SETTLE = "SELECT settle($1, $2, $3, $4)"
COUNT = (
    "INSERT INTO ledger AS l (user_id, month, used)"
    " SELECT * FROM unnest($1::uuid[], $2::date[], $3::bigint[]) ORDER BY 1, 2"
    " ON CONFLICT (user_id, month) DO UPDATE SET used = l.used + excluded.used RETURNING used"
)
SWEEP = (
    "SELECT count(settle_expired(user_id, month)::text)"
    " FROM (SELECT DISTINCT user_id, month FROM leases WHERE expires_at < clock_timestamp() ORDER BY 1, 2) AS dead"
)


def migrations() -> Traversable:
    """The folder with this schema's SQL files."""
    return files("inference_proxy") / "migrations"


class Slice(Struct, frozen=True, kw_only=True):
    """What the ledger answered: units granted to the lease since it began, and how many of them may be spent now.

    `remaining` is what the user has left this month beyond what was spent, this lease's own grant included.
    """

    granted: int
    ceiling: int
    remaining: int
    lost: bool


class Ledger:
    """All methods raise Transient("unavailable") while PostgreSQL is away."""

    def __init__(self, pool: Pool, proxy_id: str, ttl: timedelta) -> None:
        self._pool = pool
        self._proxy_id = proxy_id
        self._ttl = ttl

    async def renew(
        self, lease_id: UUID, *, is_new: bool, user_id: UUID, month: date, limit: int, spent: int, ahead: int, size: int
    ) -> Slice:
        """Tell what was spent, take up to `size` units more, of which `ahead` may be spent before the next call."""
        arguments = (lease_id, is_new, self._proxy_id, user_id, month, limit, spent, ahead, size, self._ttl)
        row = await self._row(RENEW, *arguments)
        return Slice(granted=row[0], ceiling=row[1], remaining=row[2], lost=row[3])

    async def settle(self, lease_id: UUID, *, user_id: UUID, month: date, spent: int) -> None:
        """End a lease with what it spent and give the rest back; harmless when repeated."""
        await self._row(SETTLE, lease_id, user_id, month, spent)

    async def count(self, counted: Mapping[tuple[UUID, date], int]) -> None:
        """Add requests that no limit bounds, by user and month; all or nothing."""
        users, months = zip(*counted, strict=True)
        await self._row(COUNT, users, months, tuple(counted.values()))

    async def sweep(self) -> None:
        """Settle the leases of proxies that died, whoever their users are."""
        await self._row(SWEEP)

    async def check(self) -> None:
        """For /readyz."""
        await self._row("SELECT 1")

    async def _row(self, sql: str, *arguments: object) -> asyncpg.Record:
        try:
            row = await self._pool.fetchrow(sql, *arguments)
        except (*UNREACHABLE, asyncpg.InterfaceError) as error:
            raise Transient("unavailable", "the quota ledger does not answer", headers={"Retry-After": "2"}) from error
        if row is None:
            raise Transient("unavailable", "the quota ledger gave no answer")
        return row
