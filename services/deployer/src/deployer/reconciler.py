"""Keeps Triton what it should be: reloads what a restarted Triton lost, unloads what nobody wants any more."""

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

_log = logging.getLogger(__name__)


class Reconciler:
    """`run` compares for ever; `once` is one comparison."""

    def __init__(
        self, desired: Desired, triton: Triton, endpoint: Strategy, telemetry: Telemetry, *, every_s: float
    ) -> None:
        self._desired = desired
        self._triton = triton
        self._endpoint = endpoint
        self._telemetry = telemetry
        self._every_s = every_s
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
        for name in loaded:
            if name.startswith(PREFIX) and name not in self._desired.wanted():
                _log.warning("unloading %s: no deployment wants it", name)
                await self._triton.unload(name)

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
