"""Fencing by JetStream KV: whoever holds the newest revision of a key may state facts about it, nobody else.

A record is `{attempt, worker, state, heartbeat, failures, token}`. Taking a key raises `attempt` by compare-and-set, which makes
every earlier holder's next `heartbeat`, `still_mine` or `complete` fail. `failures` counts attempts that ended badly
(crash or error), so that a graceful restart does not use up a job's tries.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal
from uuid import uuid4

import msgspec
import nats.js.errors
from nats.js.kv import KeyValue

from contracts.errors import Transient
from contracts.subjects import LEASES
from servicekit.bus import Bus

STALE_S = 30.0
KEEP = timedelta(days=30)
"""A key that nobody has written for so long is forgotten, or the bucket would grow for ever: by then no export is on the bus any more."""
State = Literal["running", "released", "done"]


class LeaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of one key; `heartbeat` is in Unix seconds, `token` is drawn anew for each attempt."""

    attempt: int
    worker: str
    state: State
    heartbeat: float
    token: str
    failures: int = 0


class Busy(msgspec.Struct, frozen=True):
    """Somebody alive holds the key; try again after `retry_s`."""

    worker: str
    retry_s: float


class Done(msgspec.Struct, frozen=True):
    """The work was completed by this attempt."""

    attempt: int


class LeaseLost(Transient):
    """Another owner has taken the key: stop, state nothing."""

    def __init__(self, key: str) -> None:
        super().__init__("lease_lost", f"the lease on {key} belongs to another worker now")


class Lease:
    """One attempt at one key. All methods raise LeaseLost once somebody else has taken it."""

    def __init__(self, bucket: KeyValue, key: str, record: LeaseRecord, revision: int) -> None:
        self._bucket = bucket
        self._revision = revision
        self._record = record
        self._lock = asyncio.Lock()
        self.key = key

    @property
    def attempt(self) -> int:
        return self._record.attempt

    @property
    def failures(self) -> int:
        """Attempts before this one that ended in a crash or an error."""
        return self._record.failures

    async def heartbeat(self) -> None:
        """Prove by compare-and-set that the lease is ours and keep it fresh: call it right before stating a fact."""
        await self._write("running")

    async def still_mine(self) -> bool:
        """Like `heartbeat`, as a question."""
        try:
            await self.heartbeat()
        except LeaseLost:
            return False
        return True

    async def complete(self) -> None:
        """Mark the work done for ever: later deliveries find `Done`. Publish the terminal fact before."""
        await self._write("done")

    async def release(self, *, failed: bool) -> None:
        """Let the next one take the key at once."""
        await self._write("released", failures=self.failures + failed)

    async def _write(self, state: State, *, failures: int | None = None) -> None:
        async with self._lock:
            record = msgspec.structs.replace(
                self._record,
                state=state,
                heartbeat=time.time(),
                failures=self.failures if failures is None else failures,
            )
            self._revision = await _swap(self._bucket, self.key, record, self._revision)
            self._record = record


class Leases:
    """The bucket of leases; `stale_s` is how long a holder may be silent before it counts as dead."""

    def __init__(self, bus: Bus, *, stale_s: float = STALE_S, bucket: str = LEASES) -> None:
        self._bus = bus
        self._stale_s = stale_s
        self._bucket_name = bucket
        self._bucket: KeyValue | None = None

    async def take(self, key: str, owner: str, admits: Callable[[int], bool] = lambda _: True) -> Lease | Busy | Done:
        """Take the key if it is new, released or stale; `key` has letters, digits and `-_/=.` only.

        `admits` is told how many attempts have failed or died, and may keep it from being taken now.
        """
        bucket = self._bucket or await self._bus.kv(self._bucket_name, ttl=KEEP)
        self._bucket = bucket
        try:
            entry = await bucket.get(key)
        except nats.js.errors.KeyNotFoundError:
            found, revision = None, 0
        else:
            found, revision = msgspec.json.decode(entry.value or b"", type=LeaseRecord), int(entry.revision or 0)
        if found is not None:
            if found.state == "done":
                return Done(found.attempt)
            wait = found.heartbeat + self._stale_s - time.time()
            if found.state == "running" and wait > 0:
                return Busy(found.worker, min(wait, self._stale_s))
        record = _next(found, owner)
        if not admits(record.failures):
            return Busy("", 1.0)
        try:
            return Lease(bucket, key, record, await _swap(bucket, key, record, revision))
        except LeaseLost:
            return Busy("", 1.0)


def _next(found: LeaseRecord | None, owner: str) -> LeaseRecord:
    """The record of a new attempt; a predecessor that never ended its own counts as failed."""
    died = found is not None and found.state == "running"
    return LeaseRecord(
        attempt=found.attempt + 1 if found else 1,
        worker=owner,
        state="running",
        heartbeat=time.time(),
        token=uuid4().hex,
        failures=found.failures + died if found else 0,
    )


async def _swap(bucket: KeyValue, key: str, record: LeaseRecord, revision: int) -> int:
    """Compare-and-set; where the ack of our own last write was lost, the newest revision still shows our token."""
    value = msgspec.json.encode(record)
    try:
        return int(await bucket.update(key, value, last=revision))
    except nats.js.errors.KeyWrongLastSequenceError as error:
        entry = await bucket.get(key)
        if msgspec.json.decode(entry.value or b"", type=LeaseRecord).token != record.token:
            raise LeaseLost(key) from error
        newest = int(entry.revision or 0)
    try:
        return int(await bucket.update(key, value, last=newest))
    except nats.js.errors.KeyWrongLastSequenceError as error:
        raise LeaseLost(key) from error
