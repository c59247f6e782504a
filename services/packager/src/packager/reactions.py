"""What the packager does when a model was exported: build its package, then say so."""

import logging
import tempfile
import time
from pathlib import Path

import msgspec

from contracts import keys
from contracts.envelope import EventMeta
from contracts.errors import Permanent
from contracts.events import ExportFailedV1, ExportProgressedV1, ModelExportedV1, PackageBuiltV1
from contracts.vocabulary import ExportFormat, ExportStage
from packager import export_package, failures
from packager.cancellations import Cancellations
from packager.export_package import Sources
from packager.proofs import Gate
from packager.provenance.signing import Signer
from servicekit.bus import Bus
from servicekit.jobs import Exhausted
from servicekit.leases import Lease
from servicekit.objects import ObjectStore

PERCENT = 96.0
CLAIM_BYTES = 64 << 20
_log = logging.getLogger(__name__)


class Reactions:
    """Handlers of `servicekit.jobs.JobConsumer`; facts carry the worker's attempt, so that a retry states the same fact.

    The lease is one per job. Where two attempts were exported, the first one that was taken is packaged, whoever does it: a
    claim in the store says which, so that no loss of leases or facts mixes two attempts in one tree.
    """

    def __init__(
        self,
        bus: Bus,
        store: ObjectStore,
        cancellations: Cancellations,
        work_dir: Path,
        *,
        model_max_bytes: int,
        signer: Signer | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._cancellations = cancellations
        self._work_dir = work_dir
        self._model_max_bytes = model_max_bytes
        self._signer = signer
        self._gate = gate

    async def on_model_exported(self, event: ModelExportedV1, _meta: EventMeta, lease: Lease) -> None:
        """Build and state; a cancelled job is dropped. Raises Permanent for an artefact that cannot be packaged."""
        if not await self._cancellations.run(event.job_id, self._package(event, lease)):
            _log.info("job %s was cancelled", event.job_id)

    async def on_exhausted(self, event: ModelExportedV1, reason: Exhausted) -> None:
        """State that the job ended without a package."""
        error = failures.packaging(reason)
        fact = ExportFailedV1(
            job_id=event.job_id, attempt=event.attempt, error=error, log=event.log, parity_report=event.parity_report
        )
        await self._store.delete(keys.package_claim(event.job_id))
        await self._bus.publish(fact, subject_id=event.job_id, sequence=f"{event.attempt}/package")

    async def _package(self, exported: ModelExportedV1, lease: Lease) -> None:
        began = time.monotonic()
        event = await self._claimed(exported)
        await self._progress(event)
        with tempfile.TemporaryDirectory(dir=self._work_dir, ignore_cleanup_errors=True) as folder:
            built = await self._build(event, lease, Path(folder))
        await lease.heartbeat()
        fact = PackageBuiltV1(
            job_id=event.job_id,
            user_id=event.user_id,
            attempt=event.attempt,
            export_format=event.export_format,
            proof=event.proof,
            package=built.package,
            model=built.model,
            parity_report=built.parity_report,
            metadata=built.metadata,
            duration_s=round(time.monotonic() - began, 3),
        )
        await self._bus.publish(fact, subject_id=event.job_id, sequence=event.attempt)

    async def _claimed(self, event: ModelExportedV1) -> ModelExportedV1:
        """The attempt to package: this one, or the one that was taken before it."""
        key = keys.package_claim(event.job_id)
        try:
            await self._store.put_bytes(key, msgspec.json.encode(event), "application/json", if_none_match=True)
        except Permanent as error:
            if error.code != "conflict":
                raise
            return msgspec.json.decode(await self._store.get_bytes(key, CLAIM_BYTES), type=ModelExportedV1)
        return event

    async def _build(self, event: ModelExportedV1, lease: Lease, folder: Path) -> export_package.Stored:
        """Fetch, assemble, upload; one span each. Only the holder of the lease writes the tree."""
        span = self._bus.telemetry.span
        with span("fetch artefacts", bytes=event.model.size_bytes):
            sources = await self._fetch(event, folder)
        with span("assemble package"):
            package = await export_package.assemble(
                event.metadata,
                sources,
                folder,
                max_bytes=self._model_max_bytes,
                signer=self._signer,
                gate=self._gate,
            )
        with span("upload package", files=len(package.members)):
            return await export_package.upload(self._store, event.job_id, package, lease.heartbeat)

    async def _fetch(self, event: ModelExportedV1, folder: Path) -> Sources:
        if event.model.size_bytes > self._model_max_bytes:
            sentence = f"the model has {event.model.size_bytes} bytes, {self._model_max_bytes} are allowed"
            raise Permanent("packaging_failed", sentence)
        return await export_package.fetch(self._store, event, folder)

    async def _progress(self, event: ModelExportedV1) -> None:
        fact = ExportProgressedV1(
            job_id=event.job_id,
            attempt=event.attempt,
            stage=ExportStage.PACKAGE,
            percent=PERCENT,
            message=self._said(event.export_format),
            worker_id=self._bus.service,
        )
        await self._bus.publish(fact, subject_id=event.job_id, sequence=f"{event.attempt}/package")

    def _said(self, export_format: ExportFormat) -> str:
        """What is done now, for people."""
        languages = self._gate.languages(export_format) if self._gate else ""
        return f"Building the package and verifying it in {languages}" if languages else "Building the package"
