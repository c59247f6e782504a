"""How each deployment type is made what was asked for: a table from type to strategy.

`download` needs nothing of any service; edge and container packages are the packager's.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from contracts import keys
from contracts.deployment import PlatformEndpointConfig
from contracts.errors import Permanent
from contracts.events.deployment import DeploymentActivatedV1, DeploymentRequestedV1
from contracts.model_config import ModelConfig, build, warm_up_shape
from contracts.vocabulary import DeploymentType
from deployer.triton import Triton
from servicekit.objects import ObjectStore
from servicekit.telemetry import Telemetry

LIVE_PATIENCE_S = 60.0
LARGE_BYTES = 256 << 20
"""Larger models are loaded one at a time: a load holds the model's bytes about three times."""


class Strategy(Protocol):
    """All three are idempotent and may be repeated after any failure."""

    async def activate(self, request: DeploymentRequestedV1) -> DeploymentActivatedV1:
        """Make it serve; Permanent where it cannot."""
        ...

    async def deactivate(self, request: DeploymentRequestedV1) -> None:
        """Make it stop serving, its files kept."""
        ...

    async def delete(self, request: DeploymentRequestedV1) -> None:
        """Make it stop serving and remove its files."""
        ...


class PlatformEndpoint:
    """A model in Triton's repository and in Triton's memory."""

    def __init__(
        self, store: ObjectStore, triton: Triton, telemetry: Telemetry, *, threads: int, model_max_bytes: int
    ) -> None:
        self._store = store
        self._triton = triton
        self._telemetry = telemetry
        self._threads = threads
        self._model_max_bytes = model_max_bytes
        self._large = asyncio.Lock()

    async def activate(self, request: DeploymentRequestedV1) -> DeploymentActivatedV1:
        """Copy the verified bytes and config.pbtxt into the repository, load them, and see one inference through."""
        config = self.config(request)
        started = await self._load(request, config)
        with self._telemetry.span("first inference"):
            await self._first_inference(request, config)
        return DeploymentActivatedV1(
            deployment_id=request.deployment_id,
            generation=request.generation,
            deployment_type=request.deployment_type,
            triton_model=config.name,
            model_version=request.model_version,
            metadata=request.metadata,
            access=request.access,
            load_seconds=round(time.monotonic() - started, 3),
        )

    async def _load(self, request: DeploymentRequestedV1, config: ModelConfig) -> float:
        """When the load began, once it is done; the model's bytes are let go with this call."""
        async with self._turn(request.model.size_bytes):
            with self._telemetry.span("store model"):
                model = await self._model(request)
                text = config.to_pbtxt().encode()
                await self._store.put_bytes(keys.triton_config(request.deployment_id), text, "text/plain")
            await self._triton.wait_live(LIVE_PATIENCE_S)
            started = time.monotonic()
            with self._telemetry.span("load model"):
                await self._triton.load(config, {f"{request.model_version}/{config.default_model_filename}": model})
        return started

    @asynccontextmanager
    async def _turn(self, size_bytes: int) -> AsyncIterator[None]:
        if size_bytes <= LARGE_BYTES:
            yield
            return
        async with self._large:
            yield

    async def _first_inference(self, request: DeploymentRequestedV1, config: ModelConfig) -> None:
        """Zeros through the model; one that cannot do that does not stay loaded."""
        try:
            shape = warm_up_shape(request.metadata)
            await self._triton.warm_up(config, shape, request.metadata.input_spec.dtype)
        except Permanent:
            await self._triton.unload(config.name)
            raise

    async def deactivate(self, request: DeploymentRequestedV1) -> None:
        """Unload."""
        await self._triton.wait_live(LIVE_PATIENCE_S)
        await self._triton.unload(keys.triton_model_name(request.deployment_id))

    async def delete(self, request: DeploymentRequestedV1) -> None:
        """Unload and empty the repository's folder."""
        await self.deactivate(request)
        await self._store.delete_prefix(keys.triton_root(request.deployment_id))

    def config(self, request: DeploymentRequestedV1) -> ModelConfig:
        """Triton's configuration of this request."""
        if not isinstance(request.config, PlatformEndpointConfig):
            raise Permanent("deployment_failed", f"{request.deployment_type} has a config of another type.")
        return build(
            keys.triton_model_name(request.deployment_id),
            request.metadata,
            request.config,
            export_format=request.export_format,
            version=request.model_version,
            threads=self._threads,
        )

    async def _model(self, request: DeploymentRequestedV1) -> bytes:
        """The model's bytes, equal to their announced digest, stored in the repository where they were not yet."""
        target = keys.triton_model(request.deployment_id, request.model_version, request.export_format)
        if await self._store.exists(target):
            data = await self._store.get_bytes(target, self._model_max_bytes)
            if await _sha256(data) == request.model.sha256:
                return data
        data = await self._store.get_bytes(request.model.key, self._model_max_bytes)
        if await _sha256(data) != request.model.sha256:
            raise Permanent(
                "deployment_failed", "The stored model is not the one that was exported: its SHA-256 differs."
            )
        await self._store.copy(request.model.key, target)
        return data


async def _sha256(data: bytes) -> str:
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()


def strategies(endpoint: PlatformEndpoint) -> Mapping[DeploymentType, Strategy]:
    """Which strategy makes which type."""
    return {DeploymentType.PLATFORM_ENDPOINT: endpoint}
