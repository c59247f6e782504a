"""What one user may ask of one gateway process: requests a minute, and streams of events at a time.

Windows are fixed minutes of the clock and live in memory: the limit keeps a process responsive, it is nothing that is billed.
With N replicas a user has N times as much.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from msgspec import Struct

from contracts.errors import ModelportError
from contracts.tiers import TIERS
from contracts.vocabulary import Tier

WINDOW_S = 60


class Standing(Struct, frozen=True, kw_only=True):
    """Where a user stands in the present minute; draft-ietf-httpapi-ratelimit-headers."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"minute";q={self.limit};w={WINDOW_S}',
            "RateLimit": f'"minute";r={self.remaining};t={self.reset_s}',
        }


class Limits:
    """Counts by user; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._minute = 0
        self._requests: Counter[UUID] = Counter()
        self._streams: Counter[UUID] = Counter()

    def admit(self, user_id: UUID, tier: Tier) -> Standing:
        """Count one request; ModelportError("rate_limited") beyond the tier's limit."""
        now = self._clock()
        minute = int(now // WINDOW_S)
        if minute != self._minute:
            self._minute = minute
            self._requests.clear()
        limit = TIERS[tier].gateway_requests_per_minute
        used = self._requests[user_id]
        reset_s = int((minute + 1) * WINDOW_S - now) + 1
        if used >= limit:
            standing = Standing(limit=limit, remaining=0, reset_s=reset_s)
            sentence = f"The {tier} tier allows {limit} requests a minute."
            raise ModelportError("rate_limited", sentence, headers=standing.headers | {"Retry-After": str(reset_s)})
        self._requests[user_id] = used + 1
        return Standing(limit=limit, remaining=limit - used - 1, reset_s=reset_s)

    @contextmanager
    def stream(self, user_id: UUID, tier: Tier) -> Iterator[None]:
        """A place for one stream of events while the block runs; ModelportError("too_many_streams")."""
        allowed = TIERS[tier].event_streams
        if self._streams[user_id] >= allowed:
            sentence = f"{allowed} streams are open, the {tier} tier allows no more at a time."
            raise ModelportError("too_many_streams", sentence, headers={"Retry-After": "5"})
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]
