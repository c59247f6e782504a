"""Removes what nobody owns: objects, uploads that broke off or were never registered, leases of jobs long over."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import nats.errors
import nats.js.errors
from msgspec import MsgspecError, json

from contracts.errors import Transient
from contracts.subjects import LEASES
from gateway.parts import Parts
from gateway.store import owners
from gateway.sweep import EXPORTS, KEPT, PACKAGES, TRITON, UPLOADS, Ages, Found, Known, is_unowned, owner_of
from servicekit import leftovers
from servicekit.leases import LeaseRecord
from servicekit.uris import uri

PREFLIGHT = "preflight."
_log = logging.getLogger(__name__)


class Sweeper:
    """Any number of replicas may sweep: what one has removed, another finds gone."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Sweep until cancelled; what cannot be looked at now is looked at the next time."""
        while True:
            await asyncio.sleep(self._parts.settings.sweep_interval_s)
            for part in (self.objects, self.broken_uploads, self.leases):
                await self._try(part)

    async def _try(self, part: Callable[[], Awaitable[int]]) -> None:
        try:
            removed = await part()
        except (Transient, nats.errors.Error, OSError) as error:
            _log.warning("%s are not swept: %s", part.__name__, error or type(error).__name__)
            return
        if removed:
            _log.info("swept: %d %s that nobody owns", removed, part.__name__)

    async def objects(self) -> int:
        """Remove the objects of jobs and deployments that are over or unknown, and uploads that nobody registered."""
        settings = self._parts.settings
        ages = Ages(
            now=datetime.now(UTC),
            grace=timedelta(seconds=settings.sweep_grace_s),
            upload_keep=timedelta(seconds=settings.upload_keep_s),
        )
        removed = 0
        for prefix in (EXPORTS, UPLOADS, TRITON, *PACKAGES, *KEPT):
            async for page in leftovers.pages(self._parts.objects, prefix):
                found = [Found(key=item.key, modified=item.modified) for item in page if item.modified]
                known = await self._known([one.key for one in found])
                for key in [one.key for one in found if is_unowned(one, known, ages)]:
                    await self._parts.objects.delete(key)
                    removed += 1
        return removed

    async def broken_uploads(self) -> int:
        """Give up uploads in parts that were begun before the grace and never ended."""
        before = datetime.now(UTC) - timedelta(seconds=self._parts.settings.sweep_grace_s)
        return await leftovers.abort_uploads(self._parts.objects, before)

    async def leases(self) -> int:
        """Forget the leases of jobs that ended, and of preflights that were asked, so long ago that nothing on the bus speaks of them."""
        bucket = await self._parts.bus.kv(LEASES)
        try:
            keys = await bucket.keys()
        except nats.js.errors.NoKeysError:
            return 0
        named = {key: job for key in keys if (job := _job_of(key)) is not None}
        keep = timedelta(seconds=self._parts.settings.lease_keep_s)
        over = await owners.ended(self._parts.pool, list(set(named.values())), keep)
        removed = 0
        for key in keys:
            if named.get(key) not in over and not key.startswith(PREFLIGHT):
                continue
            try:
                entry = await bucket.get(key)
                if self._is_over(key, json.decode(entry.value or b"", type=LeaseRecord)):
                    await bucket.purge(key)
                    removed += 1
            except (nats.js.errors.NotFoundError, MsgspecError):
                continue
        return removed

    def _is_over(self, key: str, record: LeaseRecord) -> bool:
        """A preflight has no row for long; it is answered or given up within minutes."""
        if key.startswith(PREFLIGHT):
            return time.time() - record.heartbeat > self._parts.settings.sweep_grace_s
        return record.state != "running"

    async def _known(self, keys: list[str]) -> Known:
        ids = list({owner for key in keys if (owner := owner_of(key)) is not None})
        bucket = self._parts.objects.bucket
        uploads = [key.split("/") for key in keys if key.startswith(UPLOADS)]
        places = {"/".join(parts[:length]) for parts in uploads for length in range(2, len(parts) + 1)}
        by_uri = {uri(bucket, place): place for place in places}
        registered = await owners.checkpoints(self._parts.pool, list(by_uri)) if by_uri else frozenset()
        return Known(
            jobs=await owners.jobs(self._parts.pool, ids),
            deployments=await owners.deployments(self._parts.pool, ids),
            checkpoints=frozenset(by_uri[one] for one in registered),
        )


def _job_of(key: str) -> UUID | None:
    try:
        return UUID(key.removeprefix("package."))
    except ValueError:
        return None
