"""Real servers around one worker whose steps are hostile, and everything that is stated meanwhile."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from contracts.envelope import EventMeta
from contracts.events import (
    Event,
    ExportFailedV1,
    ExportRequestedV1,
    ModelExportedV1,
)
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker.app import App, build_app
from export_worker.launchers.subprocess import SubprocessLauncher
from export_worker.settings import load
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.sandbox import watch
from servicekit.sandbox.bubblewrap import SandboxState
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry

FAKE_RUN = Path(__file__).parent / "fake_run.py"
FAKE_WORKER = Path(__file__).parent / "fake_worker.py"
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

    async def until(self, condition: Callable[[], bool], seconds: float = 100.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.heard.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.heard.wait()
                except TimeoutError:
                    continue

    async def until_gone(self, *pids: int) -> None:
        await self.until(lambda: not any(watch.is_alive(pid) for pid in pids), seconds=60)

    def of(self, kind: type[Event], job_id: UUID) -> list[Event]:
        return [event for event, _ in self.facts if type(event) is kind and getattr(event, "job_id", None) == job_id]

    async def end(self, job_id: UUID, seconds: float = 100.0) -> ModelExportedV1 | ExportFailedV1:
        """The job's terminal fact; there must be one only."""
        kinds = (ModelExportedV1, ExportFailedV1)
        await self.until(lambda: any(self.of(kind, job_id) for kind in kinds), seconds)
        await asyncio.sleep(0.3)
        (fact,) = [event for kind in kinds for event in self.of(kind, job_id)]
        assert isinstance(fact, kinds)
        return fact

    async def request(self, **changes: object) -> ExportRequestedV1:
        user_id = uuid4()
        key = f"uploads/{user_id}/{uuid4()}/model.pt"
        await self.store.put_bytes(key, CHECKPOINT)
        wanted = ExportRequestedV1(
            job_id=uuid4(),
            user_id=user_id,
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
    async def worker(
        self, deed: str, tmp_path: Path, sandbox: SandboxState | None = None, **variables: str
    ) -> AsyncIterator[App]:
        port = str(free_ports(1)[0])
        environ = {**self.environ, "MODELPORT_PORT": port, **variables}
        launcher = SubprocessLauncher(tmp_path / "runs", environ, command=(sys.executable, str(FAKE_RUN), deed))
        app = build_app(load(environ), telemetry=self._telemetry, environ=environ, launcher=launcher, state=sandbox)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
