"""A bounded amount of something that all requests share, of which no single user can hold more than a part."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from contracts.errors import Transient


class Room:
    """`total` for everybody; one user at most `share`, or a single request that is larger. Not for threads."""

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._held = 0
        self._by_user: Counter[UUID] = Counter()

    @contextmanager
    def hold(self, user_id: UUID, amount: int) -> Iterator[None]:
        """Hold `amount` while the block runs; Transient("unavailable") where it does not fit now."""
        mine = self._by_user[user_id]
        if self._held + amount > self._total or (mine and mine + amount > self._share):
            raise busy()
        self._held += amount
        self._by_user[user_id] += amount
        try:
            yield
        finally:
            self._held -= amount
            self._by_user[user_id] -= amount
            if not self._by_user[user_id]:
                del self._by_user[user_id]


def busy() -> Transient:
    """The answer to a request that there is no room for."""
    return Transient("unavailable", "The proxy is busy.", headers={"Retry-After": "1"})
