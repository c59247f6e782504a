"""Keeps Triton what it should be: reloads what a restarted Triton lost, unloads what nobody wants any more.

A model of which no request tells is no proof that nobody wants it: the stream of requests may have been lost, and what it held
is stated again by the gateway whenever that can. Such strangers stay for a grace.
"""

import asyncio
import logging
import time
from uuid import UUID

from contracts.errors import ModelportError, Transient
from contracts.events.deployment import DeploymentRequestedV1
from deployer.desired import Desired
from deployer.strategies import Strategy
from deployer.triton import Triton
from servicekit.telemetry import Telemetry

PREFIX = "d-"
FIRST_WAIT_S = 3.0
LONGEST_WAIT_S = 120.0
STRANGER_GRACE_S = 3600.0
"""Far longer than a gateway is away; until then nobody can say whether a model is wanted."""

_log = logging.getLogger(__name__)


class Reconciler:
    """`run` compares for ever; `once` is one comparison."""

    def __init__(
        self,
        desired: Desired,
        triton: Triton,
        endpoint: Strategy,
        telemetry: Telemetry,
        *,
        every_s: float,
        stranger_grace_s: float = STRANGER_GRACE_S,
    ) -> None:
        self._desired = desired
        self._triton = triton
        self._endpoint = endpoint
        self._telemetry = telemetry
        self._every_s = every_s
        self._stranger_grace_s = stranger_grace_s
        self._strangers: dict[str, float] = {}
        self._waits: dict[tuple[UUID, int], tuple[float, float]] = {}

    async def run(self) -> None:
        """Compare every `every_s` seconds until cancelled; an error waits for the next time."""
        while True:
            try:
                await self.once()
            except Transient as error:
                _log.info("not reconciled: %s", error)
            except Exception:
                _log.exception("not reconciled")
            await asyncio.sleep(self._every_s)

    async def once(self) -> None:
        """Reload what is lost, unload what is strange; Transient while Triton is away."""
        loaded = await self._triton.loaded()
        for name, request in self._desired.proven().items():
            if name not in loaded and self._is_due(request):
                await self._reload(name, request)
        for name in self._leaving(loaded):
            _log.warning("unloading %s: no deployment wants it", name)
            await self._triton.unload(name)

    def _leaving(self, loaded: set[str]) -> set[str]:
        """What is known to be unwanted, and the strangers whose grace is over."""
        now = time.monotonic()
        unwanted = self._desired.unwanted()
        strange = {name for name in loaded if name.startswith(PREFIX)} - unwanted - self._desired.wanted().keys()
        for name in strange - self._strangers.keys():
            _log.warning("keeping %s for %.0f s: no request tells of it", name, self._stranger_grace_s)
        self._strangers = {name: self._strangers.get(name, now) for name in strange}
        late = {name for name, since in self._strangers.items() if now - since >= self._stranger_grace_s}
        return late | (loaded & unwanted)

    async def _reload(self, name: str, request: DeploymentRequestedV1) -> None:
        async with self._desired.lock(request.deployment_id):
            if self._desired.proven().get(name) is not request or name in await self._triton.loaded():
                return
            _log.warning("loading %s again: Triton lost it", name)
            with self._telemetry.span("reload model", deployment_id=str(request.deployment_id)):
                try:
                    await self._endpoint.activate(request)
                except ModelportError as error:
                    self._wait_longer(request)
                    _log.error("%s could not be loaded again: %s", name, error)
                else:
                    self._waits.pop((request.deployment_id, request.generation), None)

    def _is_due(self, request: DeploymentRequestedV1) -> bool:
        return time.monotonic() >= self._waits.get((request.deployment_id, request.generation), (0.0, 0.0))[0]

    def _wait_longer(self, request: DeploymentRequestedV1) -> None:
        key = (request.deployment_id, request.generation)
        wait = min(self._waits.get(key, (0.0, FIRST_WAIT_S / 2))[1] * 2, LONGEST_WAIT_S)
        self._waits[key] = (time.monotonic() + wait, wait)
