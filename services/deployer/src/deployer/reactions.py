"""What the deployer does when a deployment is requested: make it so, then say so."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import asdict

from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo, Permanent
from contracts.events import Event
from contracts.events.deployment import DeploymentDeactivatedV1, DeploymentFailedV1, DeploymentRequestedV1
from contracts.vocabulary import DeploymentType, DesiredState
from deployer.desired import Desired
from deployer.strategies import Strategy
from deployer.triton import LoadRefused
from servicekit.bus import Bus
from servicekit.jobs import Exhausted
from servicekit.leases import Lease

_log = logging.getLogger(__name__)

Act = Callable[[Strategy, DeploymentRequestedV1], Awaitable[Event]]


async def _activate(strategy: Strategy, request: DeploymentRequestedV1) -> Event:
    return await strategy.activate(request)


async def _deactivate(strategy: Strategy, request: DeploymentRequestedV1) -> Event:
    await strategy.deactivate(request)
    return DeploymentDeactivatedV1(deployment_id=request.deployment_id, generation=request.generation)


async def _delete(strategy: Strategy, request: DeploymentRequestedV1) -> Event:
    await strategy.delete(request)
    return DeploymentDeactivatedV1(deployment_id=request.deployment_id, generation=request.generation, deleted=True)


ACTS: Mapping[DesiredState, Act] = {
    DesiredState.ACTIVE: _activate,
    DesiredState.INACTIVE: _deactivate,
    DesiredState.DELETED: _delete,
}


class Reactions:
    """Handlers of `servicekit.jobs.JobConsumer`."""

    def __init__(self, bus: Bus, desired: Desired, strategies: Mapping[DeploymentType, Strategy]) -> None:
        self._bus = bus
        self._desired = desired
        self._strategies = strategies

    async def on_requested(self, request: DeploymentRequestedV1, meta: EventMeta, lease: Lease) -> None:
        """Make the deployment what was asked for and state it; a request that was overtaken does nothing."""
        self._desired.request(request)
        async with self._desired.lock(request.deployment_id):
            if self._desired.is_stale(request):
                _log.info("deployment %s: generation %d was overtaken", request.deployment_id, request.generation)
                return
            try:
                fact = await ACTS[request.desired](self._strategies[request.deployment_type], request)
            except Permanent as error:
                cause = error.cause if isinstance(error, LoadRefused) else ""
                await lease.heartbeat()
                await self._failed(request, ErrorInfo.of(error, stage="deploy", cause=cause), meta.id)
                return
            await lease.heartbeat()
            await self._publish(request, fact, meta.id)

    async def on_exhausted(self, request: DeploymentRequestedV1, reason: Exhausted) -> None:
        """Every try failed: say so with the last reason."""
        known = {key: value for key, value in asdict(reason).items() if key in ErrorInfo.__struct_fields__}
        await self._failed(request, ErrorInfo(**{**known, "stage": "deploy"}), f"given up/{reason.attempt}")

    async def _failed(self, request: DeploymentRequestedV1, error: ErrorInfo, asked: str) -> None:
        _log.warning("deployment %s failed: %s %s", request.deployment_id, error.message, error.cause)
        fact = DeploymentFailedV1(deployment_id=request.deployment_id, generation=request.generation, error=error)
        await self._publish(request, fact, asked)

    async def _publish(self, request: DeploymentRequestedV1, fact: Event, asked: str) -> None:
        """A wish that is delivered twice has one answer; one that is stated anew has another, which the bus does not take for the old one."""
        await self._bus.publish(fact, subject_id=request.deployment_id, sequence=f"{request.generation}/{asked}")
