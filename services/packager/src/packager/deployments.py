"""What the packager does when an edge or container package is wanted, or wanted no more: make it so, then say so."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from contracts import keys
from contracts.deployment import ContainerConfig, EdgePackageConfig
from contracts.envelope import EventMeta
from contracts.errors import Permanent
from contracts.events import (
    DeploymentActivatedV1,
    DeploymentDeactivatedV1,
    DeploymentFailedV1,
    DeploymentProgressedV1,
    DeploymentRequestedV1,
)
from contracts.keys import ObjectRef
from contracts.vocabulary import DeploymentStage, DesiredState
from packager import container_package, edge_package, exported, failures
from packager.proofs import Gate, delivered
from packager.provenance.signing import Signer
from packager.wishes import Wishes
from servicekit.bus import Bus
from servicekit.jobs import Exhausted
from servicekit.leases import Lease
from servicekit.objects import ObjectStore

TOLD: dict[DeploymentStage, tuple[float, str]] = {
    DeploymentStage.FETCH: (5.0, "Fetching the export's files"),
    DeploymentStage.BUILD: (40.0, "Building the package"),
    DeploymentStage.VERIFY: (60.0, "Verifying the package in Python"),
    DeploymentStage.UPLOAD: (80.0, "Storing the package"),
}
"""How far a package is when a stage begins."""

_log = logging.getLogger(__name__)


class Deployments:
    """Handlers of `servicekit.jobs.JobConsumer`.

    The lease is one per generation of a deployment, however often it is stated. All generations make the same bytes, so two
    packagers at one deployment do no harm; whoever hears of a newer generation stops. `heard_all` returns once `wishes` know
    everything that was wished when it was called: after that no earlier deletion can be followed by what was stored.
    """

    def __init__(
        self,
        bus: Bus,
        store: ObjectStore,
        wishes: Wishes,
        heard_all: Callable[[], Awaitable[None]],
        work_dir: Path,
        *,
        model_max_bytes: int,
        base_image: str,
        signer: Signer | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._wishes = wishes
        self._heard_all = heard_all
        self._work_dir = work_dir
        self._model_max_bytes = model_max_bytes
        self._base_image = base_image
        self._signer = signer
        self._gate = gate

    async def on_requested(self, request: DeploymentRequestedV1, meta: EventMeta, lease: Lease) -> None:
        """Build or remove, and state it; what was overtaken is dropped. Raises Permanent for what cannot be packaged."""
        if await self._wishes.run(request, self._answer(request, meta, lease)):
            return
        _log.info("deployment %s: generation %d was overtaken", request.deployment_id, request.generation)
        if self._wishes.is_deleted(request.deployment_id):
            await self._remove(request)  # again: who answered may have been faster than what was being stored here

    async def on_exhausted(self, request: DeploymentRequestedV1, reason: Exhausted) -> None:
        """State that there is no package, and why."""
        error = failures.packaging(reason)
        fact = DeploymentFailedV1(deployment_id=request.deployment_id, generation=request.generation, error=error)
        await self._bus.publish(
            fact, subject_id=request.deployment_id, sequence=f"{request.generation}/given up/{reason.attempt}"
        )

    async def _answer(self, request: DeploymentRequestedV1, meta: EventMeta, lease: Lease) -> None:
        is_wanted = request.desired is DesiredState.ACTIVE
        fact = await (self._activate(request, meta, lease) if is_wanted else self._withdraw(request))
        await lease.heartbeat()
        await self._bus.publish(fact, subject_id=request.deployment_id, sequence=f"{request.generation}/{meta.id}")

    async def _withdraw(self, request: DeploymentRequestedV1) -> DeploymentDeactivatedV1:
        """A package that is deactivated only keeps its bytes: nobody is given a link to them."""
        is_deleted = request.desired is DesiredState.DELETED
        if is_deleted:
            await self._remove(request)
        return DeploymentDeactivatedV1(
            deployment_id=request.deployment_id, generation=request.generation, deleted=is_deleted
        )

    async def _remove(self, request: DeploymentRequestedV1) -> None:
        await self._store.delete(keys.deployed_package(request.deployment_type, request.deployment_id))

    async def _activate(self, request: DeploymentRequestedV1, meta: EventMeta, lease: Lease) -> DeploymentActivatedV1:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._work_dir, ignore_cleanup_errors=True) as folder:
            package = await self._package(request, meta, lease, Path(folder))
        return DeploymentActivatedV1(
            deployment_id=request.deployment_id,
            generation=request.generation,
            deployment_type=request.deployment_type,
            package=package,
            model_version=request.model_version,
            metadata=request.metadata,
            access=request.access,
            load_seconds=round(time.monotonic() - began, 3),
        )

    async def _package(self, request: DeploymentRequestedV1, meta: EventMeta, lease: Lease, folder: Path) -> ObjectRef:
        """Fetch, build, verify, upload; one span each."""
        span = self._bus.telemetry.span
        await self._progress(request, meta, DeploymentStage.FETCH)
        with span("fetch export", files=len(request.metadata.files)):
            members = await exported.fetch(
                self._store,
                request.export_job_id,
                request.metadata,
                folder / "export",
                model_max_bytes=self._model_max_bytes,
            )
        await self._progress(request, meta, DeploymentStage.BUILD)
        with span("build package"):
            built = await asyncio.to_thread(self._build, request, members, folder)
        if self._gate is not None:
            await self._progress(request, meta, DeploymentStage.VERIFY)
            with span("verify package"):
                await delivered.prove(self._gate, built, folder)
        await lease.heartbeat()
        await self._progress(request, meta, DeploymentStage.UPLOAD)
        with span("upload package", bytes=built.stat().st_size):
            key = keys.deployed_package(request.deployment_type, request.deployment_id)
            stored = await self._store.put_file(key, built, "application/zip")
        await self._heard_all()
        return stored

    async def _progress(self, request: DeploymentRequestedV1, meta: EventMeta, stage: DeploymentStage) -> None:
        percent, message = TOLD[stage]
        fact = DeploymentProgressedV1(
            deployment_id=request.deployment_id,
            generation=request.generation,
            stage=stage,
            percent=percent,
            message=message,
        )
        sequence = f"{request.generation}/{meta.id}/{stage}"
        await self._bus.publish(fact, subject_id=request.deployment_id, sequence=sequence)

    def _build(self, request: DeploymentRequestedV1, members: Mapping[str, Path], folder: Path) -> Path:
        model, signer = request.metadata, self._signer
        match request.config:
            case EdgePackageConfig():
                return edge_package.build(model, members, request.config, folder, signer=signer)
            case ContainerConfig():
                base = self._base_image
                return container_package.build(model, members, request.config, folder, base_image=base, signer=signer)
            case _:
                sentence = f"{request.deployment_type} has a config of another type"
                raise Permanent("packaging_failed", sentence)
