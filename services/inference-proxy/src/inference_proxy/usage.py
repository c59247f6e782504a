"""Counts answered requests per deployment and publishes them in batches, each exactly once.

A batch that was published without an ack is published again unchanged, under the same id; what is counted meanwhile goes
to the next one. So there are at most two batches a deployment in memory, however long the bus is away.
"""

import logging
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from contracts.envelope import event_id
from contracts.errors import Transient
from contracts.events.usage import InferenceRecordedV1

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What the meter needs of the bus; see `servicekit.bus.Bus`."""

    async def publish(
        self, event: InferenceRecordedV1, *, subject_id: UUID | str, event_id: str | None = None
    ) -> str: ...


class _Count:
    """What one deployment did since its last batch."""

    def __init__(self, user_id: UUID, now: datetime) -> None:
        self.user_id = user_id
        self.requests = 0
        self.errors = 0
        self.inference_time_ms = 0.0
        self.first = now
        self.last = now


class Meter:
    """`record` per request, `flush` every second and at the end."""

    def __init__(self, bus: Publisher, proxy_id: str) -> None:
        self._bus = bus
        self._proxy_id = proxy_id
        self._counts: dict[UUID, _Count] = {}
        self._sealed: dict[UUID, tuple[str, InferenceRecordedV1]] = {}
        self._number = 0

    def record(self, deployment_id: UUID, user_id: UUID, *, answered: bool, inference_ms: float = 0.0) -> None:
        """Count one request: answered, or failed after its key was accepted."""
        now = datetime.now(UTC)
        count = self._counts.get(deployment_id)
        if count is None:
            count = self._counts[deployment_id] = _Count(user_id, now)
        count.requests += answered
        count.errors += not answered
        count.inference_time_ms += inference_ms
        count.last = now

    async def flush(self) -> None:
        """Publish what was counted; what the bus does not take is kept for the next call."""
        try:
            await self._publish_sealed()
            self._seal()
            await self._publish_sealed()
        except Transient as error:
            _log.warning("usage: %d batches wait: %s", len(self._sealed), error)

    def _seal(self) -> None:
        counts, self._counts = self._counts, {}
        for deployment_id, count in counts.items():
            self._number += 1
            identity = event_id(InferenceRecordedV1, deployment_id, f"{self._proxy_id}/{self._number}")
            self._sealed[deployment_id] = (identity, self._event(deployment_id, count))

    def _event(self, deployment_id: UUID, count: _Count) -> InferenceRecordedV1:
        return InferenceRecordedV1(
            deployment_id=deployment_id,
            user_id=count.user_id,
            proxy_id=self._proxy_id,
            requests=count.requests,
            errors=count.errors,
            inference_time_ms=round(count.inference_time_ms, 3),
            first_request_at=count.first,
            last_request_at=count.last,
        )

    async def _publish_sealed(self) -> None:
        for deployment_id, (identity, event) in list(self._sealed.items()):
            await self._bus.publish(event, subject_id=deployment_id, event_id=identity)
            del self._sealed[deployment_id]
