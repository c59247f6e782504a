"""Which deployments are served: a table in memory, folded from the facts of the bus in whatever order they come.

Access (keys, owner, tier, admission) is ordered by (generation, revision): what an activation carries was true when it was
requested, so every update of that generation or a later one outranks it. The loaded model is ordered by generation alone.
"""

import logging
from collections.abc import Callable
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import EventMeta
from contracts.events.deployment import Access, DeploymentActivatedV1, DeploymentDeactivatedV1, DeploymentUpdatedV1
from contracts.vocabulary import DeploymentType, Tier
from inference_proxy.served import ServedModel, serve
from processing.errors import ProcessingError

Fact = DeploymentActivatedV1 | DeploymentUpdatedV1 | DeploymentDeactivatedV1
FACTS = (DeploymentActivatedV1, DeploymentUpdatedV1, DeploymentDeactivatedV1)

NO_ACCESS = Access(user_id=UUID(int=0), tier=Tier.FREE, key_digests=())

_log = logging.getLogger(__name__)


class Route(Struct, frozen=True, kw_only=True):
    """What the proxy knows of one deployment; `model` is None while nothing is loaded for it."""

    deployment_id: UUID
    access: Access = NO_ACCESS
    access_version: tuple[int, int] = (0, 0)
    serving: bool = False
    generation: int = 0
    deleted: bool = False
    model: ServedModel | None = None


class RouteTable:
    """All routes; `load` turns an activation and its traceparent into what answers requests."""

    def __init__(self, load: Callable[[DeploymentActivatedV1, str], ServedModel] = serve) -> None:
        self._load = load
        self._routes: dict[UUID, Route] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def get(self, deployment_id: UUID) -> Route | None:
        """The route, or None for a deployment never heard of or deleted."""
        route = self._routes.get(deployment_id)
        return None if route is None or route.deleted else route

    async def on_fact(self, fact: Fact, meta: EventMeta) -> None:
        """Fold one fact of the bus."""
        if isinstance(fact, DeploymentActivatedV1):
            self.put(fact, meta.traceparent)
        elif isinstance(fact, DeploymentUpdatedV1):
            self.update(fact)
        else:
            self.remove(fact)

    def put(self, fact: DeploymentActivatedV1, traceparent: str = "") -> None:
        """A model answers; facts of an older generation are ignored, and of deployments that nobody calls."""
        if fact.deployment_type is not DeploymentType.PLATFORM_ENDPOINT:
            return
        route = self._known(fact.deployment_id)
        if route.deleted or fact.generation < route.generation:
            return
        try:
            model = self._load(fact, traceparent)
        except ProcessingError:
            _log.exception("deployment %s cannot be served: its metadata is not understood here", fact.deployment_id)
            model = None
        route = replace(route, generation=fact.generation, model=model)
        if (fact.generation, 0) > route.access_version:
            route = replace(route, access=fact.access, access_version=(fact.generation, 0), serving=True)
        self._routes[fact.deployment_id] = route

    def update(self, fact: DeploymentUpdatedV1) -> None:
        """Keys, tier or admission changed; from here on only that counts."""
        route = self._known(fact.deployment_id)
        version = (fact.generation, fact.revision)
        if version > route.access_version and not route.deleted:
            route = replace(route, access=fact.access, access_version=version, serving=fact.serving)
            self._routes[fact.deployment_id] = route

    def remove(self, fact: DeploymentDeactivatedV1) -> None:
        """Nothing is loaded any more; the keys stay known, so that their owner learns why, until it is deleted."""
        route = self._known(fact.deployment_id)
        if fact.generation < route.generation:
            return
        route = replace(route, generation=fact.generation, model=None)
        if fact.deleted:
            route = replace(route, deleted=True, access=NO_ACCESS, serving=False)
        self._routes[fact.deployment_id] = route

    def _known(self, deployment_id: UUID) -> Route:
        return self._routes.get(deployment_id) or Route(deployment_id=deployment_id)
