"""The monthly quota: permits handed out of leased slices of the ledger, never above the limit.

A proxy spends only below its lease's ceiling, which the ledger knows beforehand. So a proxy that dies is charged its
ceiling when its lease expires and the rest of its slice returns: the limit holds in every case, at the price of a few
unused units after a crash. Slices shrink to one unit near the limit, so that several proxies reach it exactly.
The ledger says which month it is and for how long: a lease is worth nothing from the second in which its month ends.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Protocol
from uuid import UUID, uuid4

from contracts.errors import Permanent, Transient
from inference_proxy.clock import elapsed
from inference_proxy.ledger import Slice
from inference_proxy.policy import Allowance, refused

AHEAD = 5
SLICE = 25
IDLE_S = 1.5
RECHECK_S = 1.0
SWEEP_S = 60.0

_log = logging.getLogger(__name__)


class LedgerPort(Protocol):
    """What the quota needs of the ledger; see `inference_proxy.ledger.Ledger`."""

    async def renew(
        self, lease_id: UUID, *, is_new: bool, turn: int, user_id: UUID, limit: int, spent: int, ahead: int, size: int
    ) -> Slice: ...

    async def settle(self, lease_id: UUID, *, user_id: UUID, spent: int) -> None: ...

    async def count(self, batch_id: UUID, counted: Mapping[tuple[UUID, date], int]) -> None: ...

    async def sweep(self) -> None: ...


class _Lease:
    """One slice of one user's month, held by this proxy."""

    def __init__(self, user_id: UUID, limit: int) -> None:
        self.id = uuid4()
        self.user_id = user_id
        self.limit = limit
        self.is_new = True
        self.turn = 0
        self.month = date.min
        self.ends = math.inf
        """When its month is over, on our own clock."""
        self.spent = 0
        self.granted = 0
        self.ceiling = 0
        self.remaining = 0
        self.touched = 0.0
        self.renewed = 0.0
        self.dry_until = 0.0
        self.waiting = 0
        self.open = 0
        """Requests on their way, whose unit may yet return."""
        self.renewal: asyncio.Task[None] | None = None


class Reservation:
    """One unit, taken; `close` says whether the request that it was for was answered, else the unit returns."""

    def __init__(self, allowance: Allowance | None, close: Callable[[bool], None]) -> None:
        self.allowance = allowance
        self.kept = b""
        """The answer of an earlier request with the same Idempotency-Key."""
        self._close: Callable[[bool], None] | None = close

    def close(self, *, answered: bool) -> None:
        """Settle the unit; only the first call counts."""
        if self._close is not None:
            self._close(answered)
            self._close = None


class Quota:
    """Permits of all users at this proxy; `flush` runs every second or so, `close` returns what is left."""

    def __init__(
        self,
        ledger: LedgerPort,
        *,
        ttl_s: float,
        now: Callable[[], float],
        monotonic: Callable[[], float] = elapsed,
    ) -> None:
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._now = now
        self._monotonic = monotonic
        self._leases: dict[UUID, _Lease] = {}
        self._unlimited: dict[tuple[UUID, date], int] = {}
        self._batch: tuple[UUID, dict[tuple[UUID, date], int]] | None = None
        """Use on its way to the ledger; told again under the same id until it answers."""
        self._ended: list[_Lease] = []
        self._swept = monotonic()

    async def reserve(self, user_id: UUID, limit: int | None) -> Reservation:
        """Take one unit; Permanent("quota_exceeded") at the limit, Transient("unavailable") without the ledger.

        `limit` None means unlimited: counted, never waited for.
        """
        if limit is None:
            key = (user_id, month_at(self._now()))
            self._count(key, 1)
            return Reservation(None, lambda answered: None if answered else self._count(key, -1))
        while True:
            lease = self._lease(user_id, limit)
            if lease.spent < lease.ceiling:
                return self._take(lease)
            if self._monotonic() < lease.dry_until and lease.renewal is None:
                raise exceeded(self._allowance(lease))
            lease.waiting += 1
            try:
                await asyncio.shield(self._renewing(lease))
            finally:
                lease.waiting -= 1

    def _take(self, lease: _Lease) -> Reservation:
        lease.spent += 1
        lease.remaining = max(lease.remaining - 1, 0)
        lease.touched = self._monotonic()
        if lease.ceiling - lease.spent <= AHEAD // 2 and lease.remaining > SLICE:
            lease.renewal = self._renewing(lease)
        lease.open += 1
        return Reservation(self._allowance(lease), lambda answered: self._finish(lease, answered=answered))

    def _finish(self, lease: _Lease, *, answered: bool) -> None:
        lease.open -= 1
        lease.touched = self._monotonic()
        if not answered:
            lease.spent -= 1
            lease.remaining += 1
            lease.dry_until = 0.0

    def _count(self, key: tuple[UUID, date], requests: int) -> None:
        self._unlimited[key] = self._unlimited.get(key, 0) + requests

    def _lease(self, user_id: UUID, limit: int) -> _Lease:
        """The user's slice; a new month or another limit (a changed tier) begins a new one at once."""
        lease = self._leases.get(user_id)
        if lease is None or lease.limit != limit or self._monotonic() >= lease.ends:
            if lease is not None:
                self._end(lease)
            lease = self._leases[user_id] = _Lease(user_id, limit)
        return lease

    def _end(self, lease: _Lease) -> None:
        """Nothing more is spent of it; it is settled when the last request on its way has ended."""
        if self._leases.get(lease.user_id) is lease:
            del self._leases[lease.user_id]
        lease.ceiling = 0
        self._ended.append(lease)

    def _renewing(self, lease: _Lease) -> "asyncio.Task[None]":
        """The renewal under way, or a new one; waiters share it."""
        if lease.renewal is None:
            lease.renewal = asyncio.create_task(self._renew(lease))
            lease.renewal.add_done_callback(_retrieve)
        return lease.renewal

    async def _renew(self, lease: _Lease) -> None:
        spent, ahead = lease.spent, max(AHEAD, lease.waiting)
        if lease.remaining <= SLICE:
            ahead = max(lease.waiting, 1)
        # what is spent while the ledger answers stays below what it is being told
        lease.ceiling = min(lease.ceiling, spent + ahead)
        lease.turn += 1
        try:
            await self._settle_ended(lease.user_id)
            asked = self._monotonic()
            answer = await self._ledger.renew(
                lease.id,
                is_new=lease.is_new,
                turn=lease.turn,
                user_id=lease.user_id,
                limit=lease.limit,
                spent=spent,
                ahead=ahead,
                size=SLICE,
            )
        finally:
            lease.renewal = None
        if answer.lost:
            if lease not in self._ended:
                self._end(lease)
            return
        lease.is_new = False
        lease.ends, lease.month = asked + answer.left_s, answer.month
        lease.granted = answer.granted
        lease.ceiling = 0 if lease in self._ended else answer.ceiling
        lease.remaining = max(answer.remaining - (lease.spent - spent), 0)
        lease.renewed = lease.touched = self._monotonic()
        if answer.ceiling <= spent:
            lease.dry_until = self._monotonic() + RECHECK_S

    async def _settle_ended(self, user_id: UUID) -> None:
        """Close the user's older leases, so that the new one finds their rest; those with requests on their way wait."""
        for lease in [one for one in self._ended if one.user_id == user_id and not one.open]:
            await self._settle(lease)
            if lease in self._ended:
                self._ended.remove(lease)

    async def _settle(self, lease: _Lease) -> None:
        if lease.turn:
            await self._ledger.settle(lease.id, user_id=lease.user_id, spent=lease.spent)

    async def flush(self) -> None:
        """Count unlimited use, return what idle users hold, keep the leases of busy ones; errors wait for the next call."""
        try:
            await self._flush()
        except Transient as error:
            _log.warning("quota: %s", error)

    async def _flush(self) -> None:
        await self._count_unlimited()
        for user_id in {lease.user_id for lease in self._ended}:
            await self._settle_ended(user_id)
        now = self._monotonic()
        for user_id, lease in list(self._leases.items()):
            if lease.renewal is not None or lease.waiting:
                continue
            if not lease.open and now - lease.touched > IDLE_S:
                self._end(lease)
                await self._settle_ended(user_id)
            elif now - lease.renewed > self._ttl_s / 3:
                await asyncio.shield(self._renewing(lease))
        if now - self._swept > SWEEP_S:
            self._swept = now
            await self._ledger.sweep()

    async def _count_unlimited(self) -> None:
        """A batch that found no answer may have been counted: it goes again as it was, and what came since waits."""
        while self._batch or any(requests > 0 for requests in self._unlimited.values()):
            if self._batch is None:
                counted = {key: requests for key, requests in self._unlimited.items() if requests > 0}
                for key, requests in counted.items():
                    self._count(key, -requests)
                self._batch = (uuid4(), counted)
            await self._ledger.count(*self._batch)
            self._batch = None
        self._unlimited = {key: requests for key, requests in self._unlimited.items() if requests}

    async def close(self) -> None:
        """Return every lease with what it spent; Transient when the ledger is away (the leases then expire)."""
        await self._count_unlimited()
        for lease in list(self._leases.values()):
            self._end(lease)
        for lease in list(self._ended):
            await self._settle(lease)
            self._ended.remove(lease)

    def _allowance(self, lease: _Lease) -> Allowance:
        return month_allowance(lease.limit, lease.remaining, lease.month, lease.ends - self._monotonic())


def month_allowance(limit: int, remaining: int, month: date, left_s: float) -> Allowance:
    """What a client is told of its month."""
    after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    length_s = (after - month).days * 86_400
    return Allowance(
        name="month", limit=limit, window_s=length_s, remaining=remaining, reset_s=max(1, math.ceil(left_s))
    )


def exceeded(allowance: Allowance) -> Permanent:
    """The refusal of a request beyond the month's limit."""
    message = f"All {allowance.limit} requests of this month are used."
    return Permanent("quota_exceeded", message, headers=refused(allowance))


def month_at(now: float) -> date:
    """The first day of the UTC month of a Unix time."""
    return datetime.fromtimestamp(now, UTC).date().replace(day=1)


def _retrieve(task: "asyncio.Task[None]") -> None:
    """A background renewal that failed is tried again by the next request."""
    if not task.cancelled() and task.exception() is not None:
        _log.warning("quota: %s", task.exception())
