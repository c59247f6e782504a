"""The monthly ledger in PostgreSQL: every SQL statement of this service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from uuid import UUID

import asyncpg
from msgspec import Struct

from contracts.errors import Transient
from servicekit.postgres import UNREACHABLE, Connection, Pool

SCHEMA = "quota"
PATIENCE_S = 5.0
"""How long a request waits for the ledger; what comes of the statement later changes nothing that matters."""

RENEW = "SELECT granted, ceiling, remaining, lost, month, left_s FROM renew($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
SETTLE = "SELECT settle($1, $2, $3, $4)"
COUNT = "SELECT count_batch($1, $2, $3, $4)"
ATTEND = "SELECT attend($1, $2)"
SWEEP = (
    "SELECT count(settle_expired(user_id, month)::text)"
    " FROM (SELECT DISTINCT user_id, month FROM held WHERE expires_at < utc_now() ORDER BY 1, 2) AS dead"
)
FORGET = (
    "WITH a AS (DELETE FROM leases WHERE ended_at < utc_now() - interval '1 hour'),"
    " b AS (DELETE FROM batches WHERE counted_at < utc_now() - interval '1 day'),"
    " c AS (DELETE FROM proxies WHERE expires_at < utc_now() - interval '1 hour') SELECT 1"
)
EPOCH = "SELECT epoch FROM counters FOR UPDATE"
BEGIN_EPOCH = "SELECT begin_epoch()"
RESTORED = "SELECT restored($1)"

CLAIM = "SELECT outcome, answer, wait_s, remaining, month, left_s FROM claim($1, $2, $3, $4, $5, $6, $7)"
KEEP = "SELECT keep_answer($1, $2, $3, $4, $5, $6)"
GIVE_UP = "SELECT give_up($1, $2, $3, $4, 'infinity')"
EXTEND = (
    "WITH alive AS (UPDATE answers SET expires_at = greatest(expires_at, utc_now() + $2)"
    " WHERE token = ANY($1) AND NOT is_answered) SELECT 1"
)
FORGET_ANSWERS = "SELECT forget_answers()"

_LOST = (
    *UNREACHABLE,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)
"""No answer, a full server, or a statement that gave way to another one: nothing was changed or it may be told again."""

_log = logging.getLogger(__name__)


def migrations() -> Traversable:
    """The folder with this schema's SQL files."""
    return files("inference_proxy") / "migrations"


class Slice(Struct, frozen=True, kw_only=True):
    """What the ledger answered: units granted to the lease since it began, and how many of them may be spent now.

    `remaining` is what the user has left this month beyond what was spent, this lease's own grant included. `month` is
    the running one, `left_s` what is left of it, counted from the question.
    """

    granted: int
    ceiling: int
    remaining: int
    lost: bool
    month: date
    left_s: float


class Identity(Struct, frozen=True, kw_only=True):
    """One request with an Idempotency-Key; `key` and `request` are digests."""

    user_id: UUID
    deployment_id: UUID
    key: bytes
    request: bytes

    @property
    def address(self) -> tuple[UUID, UUID, bytes]:
        return self.user_id, self.deployment_id, self.key


class Claimed(Struct, frozen=True, kw_only=True):
    """What became of a claim: mine, again, kept (`answer`), running (for `wait_s` at most), mismatch or exhausted."""

    outcome: str
    answer: bytes | None
    wait_s: float
    remaining: int | None
    month: date
    left_s: float


class Ledger:
    """All methods raise Transient("unavailable") while PostgreSQL is away."""

    def __init__(self, pool: Pool, proxy_id: str, ttl: timedelta) -> None:
        self._pool = pool
        self._proxy_id = proxy_id
        self._ttl = ttl

    async def renew(
        self, lease_id: UUID, *, is_new: bool, turn: int, user_id: UUID, limit: int, spent: int, ahead: int, size: int
    ) -> Slice:
        """Tell what was spent, take up to `size` units more, of which `ahead` may be spent before the next call.

        `turn` grows with every call for a lease, so that one that is held up on its way is worth nothing.
        """
        arguments = (lease_id, is_new, turn, self._proxy_id, user_id, limit, spent, ahead, size, self._ttl)
        return Slice(**dict(await self._row(RENEW, *arguments)))

    async def settle(self, lease_id: UUID, *, user_id: UUID, spent: int) -> None:
        """End a lease with what it spent and give the rest back; harmless when repeated."""
        await self._row(SETTLE, lease_id, self._proxy_id, user_id, spent)

    async def count(self, batch_id: UUID, counted: Mapping[tuple[UUID, date], int]) -> None:
        """Add requests that no limit bounds, by user and month; the same batch counts once."""
        users, months = zip(*counted, strict=True)
        await self._row(COUNT, batch_id, users, months, tuple(counted.values()))

    async def sweep(self) -> None:
        """Settle the leases of proxies that died, whoever their users are; forget what is long over."""
        await self._row(SWEEP)
        await self._row(FORGET_ANSWERS)
        await self._row(FORGET)

    async def claim(self, identity: Identity, token: UUID, *, limit: int | None, claim_s: float) -> Claimed:
        """Count a unit for this request and hold it, unless that is done already."""
        arguments = (*identity.address, identity.request, token, limit, timedelta(seconds=claim_s))
        return Claimed(**dict(await self._row(CLAIM, *arguments)))

    async def keep(self, identity: Identity, token: UUID, answer: bytes | None, *, life_s: float) -> bool:
        """Store the answer for `life_s`; False where another proxy has taken the request over. Harmless when repeated."""
        return bool((await self._row(KEEP, *identity.address, token, answer, timedelta(seconds=life_s)))[0])

    async def give_up(self, identity: Identity, token: UUID) -> None:
        """The request was not answered: its unit returns; harmless when repeated."""
        await self._row(GIVE_UP, *identity.address, token)

    async def extend(self, tokens: Sequence[UUID], *, claim_s: float) -> None:
        """These claims are being worked on."""
        await self._row(EXTEND, list(tokens), timedelta(seconds=claim_s))

    async def attend(self, valid_s: float) -> float:
        """Tell that this proxy lives and may admit requests for `valid_s`; the database's Unix time."""
        return float((await self._row(ATTEND, self._proxy_id, timedelta(seconds=valid_s)))[0])

    @asynccontextmanager
    async def epoch(self) -> AsyncIterator["Epoch"]:
        """The epoch of the minutes' counters, locked against all other proxies while the block runs."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._pool.acquire() as connection, connection.transaction():
                yield Epoch(connection, self._proxy_id, await connection.fetchval(EPOCH))
        except _LOST as error:
            raise _away() from error

    async def check(self) -> None:
        """For /readyz."""
        await self._row("SELECT 1")

    async def _row(self, sql: str, *arguments: object) -> asyncpg.Record:
        asking = asyncio.ensure_future(self._pool.fetchrow(sql, *arguments))
        try:
            row = await asyncio.wait_for(asyncio.shield(asking), PATIENCE_S)
        except _LOST as error:
            asking.add_done_callback(_forget)
            raise _away() from error
        if row is None:
            raise Transient("unavailable", "the quota ledger gave no answer")
        return row


class Epoch:
    """Which incarnation of the counters counts; whoever holds it is alone."""

    def __init__(self, connection: Connection, proxy_id: str, number: int) -> None:
        self._connection = connection
        self._proxy_id = proxy_id
        self.number = number

    async def begin(self) -> None:
        """The counters are gone: the next ones have a number of their own."""
        self.number = await self._connection.fetchval(BEGIN_EPOCH)

    async def restored(self) -> bool:
        """This proxy has put back what it admitted; whether that is now true of all that matter, or too long ago."""
        return bool(await self._connection.fetchval(RESTORED, self._proxy_id))


def _away() -> Transient:
    return Transient("unavailable", "the quota ledger does not answer", headers={"Retry-After": "2"})


def _forget(asking: "asyncio.Future[asyncpg.Record | None]") -> None:
    if not asking.cancelled() and asking.exception() is not None:
        _log.info("the ledger answered too late: %s", asking.exception())
