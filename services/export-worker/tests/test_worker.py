"""The worker on real servers: a request goes in, exactly one terminal fact comes out, whatever the checkpoint does."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from contracts.envelope import EventMeta
from contracts.events import (
    Event,
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    ExportRequestedV1,
    ModelExportedV1,
)
from contracts.export_options import OnnxOptions
from contracts.subjects import WORKERS
from contracts.vocabulary import ExportFormat, ExportStage, Framework, TaskType
from export_worker import watch
from export_worker.app import App, build_app
from export_worker.launchers.subprocess import SubprocessLauncher
from export_worker.settings import load
from servicekit import replay
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server

pytestmark = pytest.mark.integration
FAKE_RUN = Path(__file__).parent / "fake_run.py"
CHECKPOINT = b"weights" * 100


class Floor:
    """Everything around one worker: its environment, and all facts that were stated."""

    def __init__(self, environ: dict[str, str], bus: Bus, store: ObjectStore, telemetry: Telemetry) -> None:
        self.environ = environ
        self.bus = bus
        self.store = store
        self._telemetry = telemetry
        self.facts: list[tuple[Event, EventMeta]] = []
        self.heard = asyncio.Event()

    async def hear(self, event: Event, meta: EventMeta) -> None:
        self.facts.append((event, meta))
        self.heard.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.heard.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.heard.wait()
                except TimeoutError:
                    continue

    def of(self, kind: type[Event], job_id: UUID) -> list[Event]:
        return [event for event, _ in self.facts if type(event) is kind and event.job_id == job_id]

    async def end(self, job_id: UUID) -> ModelExportedV1 | ExportFailedV1:
        """The job's terminal fact; there must be one only."""
        kinds = (ModelExportedV1, ExportFailedV1)
        await self.until(lambda: any(self.of(kind, job_id) for kind in kinds))
        await asyncio.sleep(0.3)
        (fact,) = [event for kind in kinds for event in self.of(kind, job_id)]
        assert isinstance(fact, kinds)
        return fact

    async def request(self, **changes: object) -> ExportRequestedV1:
        key = f"uploads/{uuid4()}/model.pt"
        await self.store.put_bytes(key, CHECKPOINT)
        wanted = ExportRequestedV1(
            job_id=uuid4(),
            user_id=uuid4(),
            training_job_id=uuid4(),
            version=1,
            framework=Framework.ULTRALYTICS,
            task_type=TaskType.OBJECT_DETECTION,
            model_name="yolo11n",
            checkpoint_path=f"s3://{self.store.bucket}/{key}",
            checkpoint_max_bytes=1 << 20,
            export_format=ExportFormat.ONNX,
            options=OnnxOptions(),
            timeout_s=60,
        )
        wanted = msgspec.structs.replace(wanted, **changes)
        await self.bus.publish(wanted, subject_id=wanted.job_id, sequence=0)
        return wanted

    @asynccontextmanager
    async def worker(self, deed: str, tmp_path: Path, **variables: str) -> AsyncIterator[App]:
        environ = {**self.environ, "MODELPORT_TEST_DEED": deed, **variables}
        launcher = SubprocessLauncher(tmp_path / "runs", environ, command=(sys.executable, str(FAKE_RUN)))
        app = build_app(load(environ), telemetry=self._telemetry, environ=environ, launcher=launcher)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()


@pytest.fixture
async def floor(
    nats_server: NatsServer,
    s3_server: S3Server,
    bus: Bus,
    object_store: ObjectStore,
    telemetry: Telemetry,
    tmp_path: Path,
) -> AsyncIterator[Floor]:
    s3 = s3_server.settings
    environ = {
        "PATH": os.environ["PATH"],
        "MODELPORT_NATS_URL": nats_server.url,
        "MODELPORT_S3_ENDPOINT": s3.s3_endpoint,
        "MODELPORT_S3_ACCESS_KEY": s3.s3_access_key,
        "MODELPORT_S3_SECRET_KEY": s3.s3_secret_key,
        "MODELPORT_S3_BUCKET": s3.s3_bucket,
        "MODELPORT_WORK_DIR": str(tmp_path / "work"),
        "MODELPORT_PORT": "18999",
        "MODELPORT_WARM_RUNS": "false",
        "MODELPORT_STEP_MEMORY_MIB": "256",
        "MODELPORT_ACK_WAIT_S": "2",
        "MODELPORT_HEARTBEAT_S": "0.5",
    }
    made = Floor(environ, bus, object_store, telemetry)
    kinds = [ModelExportedV1, ExportFailedV1, ExportProgressedV1]
    follower = replay.follow(bus, kinds, made.hear, since="start")
    yield made
    await follower.stop()


async def test_a_request_becomes_an_artefact(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("export", tmp_path):
        job = await floor.request()
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ModelExportedV1)
    assert fact.attempt == 1
    assert fact.model.key == f"exports/{job.job_id}/attempts/1/model.onnx"
    assert await floor.store.get_bytes(fact.model.key, 1 << 20) == CHECKPOINT * 2
    assert fact.metadata.provenance.checkpoint_sha256 != "0" * 64
    assert fact.metadata.sizes.exported_size_bytes == len(CHECKPOINT) * 2
    assert b"converted" in await floor.store.get_bytes(fact.log.key, 1 << 20)
    assert set(fact.durations_s) == {ExportStage.FETCH, ExportStage.LOAD, ExportStage.CONVERT, ExportStage.VERIFY}
    progress = [p for p in floor.of(ExportProgressedV1, job.job_id) if isinstance(p, ExportProgressedV1)]
    assert [p.percent for p in progress] == sorted(p.percent for p in progress)
    assert {ExportStage.LOAD, ExportStage.CONVERT, ExportStage.VERIFY} <= {p.stage for p in progress}
    assert list((tmp_path / "runs").iterdir()) == []
