"""What every endpoint should be, folded from requests and facts: the latest generation wins, older ones are ignored."""

import asyncio
from collections import defaultdict
from uuid import UUID

from contracts import keys
from contracts.envelope import EventMeta
from contracts.events.deployment import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentRequestedV1,
)
from contracts.vocabulary import DeploymentType, DesiredState

Fact = DeploymentRequestedV1 | DeploymentActivatedV1 | DeploymentDeactivatedV1 | DeploymentFailedV1
FACTS = (DeploymentRequestedV1, DeploymentActivatedV1, DeploymentDeactivatedV1, DeploymentFailedV1)


class Desired:
    """The table of endpoints; `lock` keeps two hands off one model."""

    def __init__(self) -> None:
        self._requests: dict[UUID, DeploymentRequestedV1] = {}
        self._activated: dict[UUID, int] = {}
        self._locks: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def on_fact(self, fact: Fact, _meta: EventMeta) -> None:
        """Fold one fact of the bus."""
        if isinstance(fact, DeploymentRequestedV1):
            self.request(fact)
        elif isinstance(fact, DeploymentActivatedV1) and fact.deployment_type is DeploymentType.PLATFORM_ENDPOINT:
            known = self._activated.get(fact.deployment_id, 0)
            self._activated[fact.deployment_id] = max(known, fact.generation)

    def request(self, request: DeploymentRequestedV1) -> None:
        """Note what is wanted; requests of other types than endpoints concern nobody here."""
        if request.deployment_type is not DeploymentType.PLATFORM_ENDPOINT:
            return
        known = self._requests.get(request.deployment_id)
        if known is None or request.generation >= known.generation:
            self._requests[request.deployment_id] = request

    def is_stale(self, request: DeploymentRequestedV1) -> bool:
        """Whether a later generation is known."""
        known = self._requests.get(request.deployment_id)
        return known is not None and known.generation > request.generation

    def lock(self, deployment_id: UUID) -> asyncio.Lock:
        return self._locks[deployment_id]

    def wanted(self) -> dict[str, DeploymentRequestedV1]:
        """By Triton's model name: every endpoint whose latest request is `active`."""
        return {
            keys.triton_model_name(one.deployment_id): one
            for one in self._requests.values()
            if one.desired is DesiredState.ACTIVE
        }

    def unwanted(self) -> set[str]:
        """By Triton's model name: every endpoint whose latest request is anything but `active`."""
        return {keys.triton_model_name(one) for one in self._requests} - self.wanted().keys()

    def proven(self) -> dict[str, DeploymentRequestedV1]:
        """Those of `wanted` that this very generation was announced as activated for: they must be loaded now."""
        return {
            name: one for name, one in self.wanted().items() if self._activated.get(one.deployment_id) == one.generation
        }
