"""What owners want of their packages by now: the newest generation counts, work for an older one is stopped."""

import time
from collections.abc import Coroutine
from uuid import UUID

from msgspec import Struct

from contracts.envelope import EventMeta
from contracts.events import DeploymentRequestedV1
from contracts.vocabulary import DesiredState
from packager.running import Running

_KEEP_S = 25 * 3600.0


class Wish(Struct, frozen=True):
    """The newest generation heard of, and when (`time.monotonic`)."""

    generation: int
    desired: DesiredState
    heard_at: float


class Wishes:
    """Remembers the wishes of a day: an older one is answered before a newer one can come, or is answered in vain."""

    def __init__(self) -> None:
        self._wishes: dict[UUID, Wish] = {}
        self._running = Running()

    async def on_requested(self, request: DeploymentRequestedV1, _meta: EventMeta) -> None:
        """Handler of `servicekit.replay.follow`."""
        self.note(request)

    def note(self, request: DeploymentRequestedV1) -> None:
        """Remember a wish for a package; what runs for an older one is stopped."""
        if not request.deployment_type.is_built:
            return
        now = time.monotonic()
        self._wishes = {one: wish for one, wish in self._wishes.items() if now - wish.heard_at < _KEEP_S}
        known = self._wishes.get(request.deployment_id)
        if known is None or request.generation > known.generation:
            self._wishes[request.deployment_id] = Wish(request.generation, request.desired, now)
            self._running.stop(request.deployment_id)

    def is_overtaken(self, request: DeploymentRequestedV1) -> bool:
        """Whether a later generation is known."""
        known = self._wishes.get(request.deployment_id)
        return known is not None and known.generation > request.generation

    def is_deleted(self, deployment_id: UUID) -> bool:
        """Whether the last that was heard is that nobody wants it any more; there is no way back from that."""
        known = self._wishes.get(deployment_id)
        return known is not None and known.desired is DesiredState.DELETED

    async def run(self, request: DeploymentRequestedV1, work: Coroutine[None, None, None]) -> bool:
        """Await `work`; False where the wish was overtaken before or meanwhile."""
        self.note(request)
        return await self._running.run(request.deployment_id, work, lambda: self.is_overtaken(request))
