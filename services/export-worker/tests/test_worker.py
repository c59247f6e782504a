"""The worker on real servers: a request goes in, exactly one terminal fact comes out, whatever the checkpoint does."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from contracts.capabilities import WorkerAnnouncement
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
from export_worker.sandbox import SandboxState
from export_worker.settings import load
from nats.js.errors import NoKeysError
from servicekit import replay
from servicekit.bus import Bus
from servicekit.leases import Lease, Leases
from servicekit.objects import ObjectStore
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server

pytestmark = pytest.mark.integration
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
    async def worker(
        self, deed: str, tmp_path: Path, *, sandbox: SandboxState | None = None, **variables: str
    ) -> AsyncIterator[App]:
        port = str(free_ports(1)[0])
        environ = {**self.environ, "MODELPORT_TEST_DEED": deed, "MODELPORT_PORT": port, **variables}
        launcher = SubprocessLauncher(tmp_path / "runs", environ, command=(sys.executable, str(FAKE_RUN)))
        app = build_app(load(environ), telemetry=self._telemetry, environ=environ, launcher=launcher, state=sandbox)
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


@pytest.mark.parametrize(
    ("deed", "code", "stage"),
    [
        ("fail_parity", "parity_failed", "verify"),
        ("crash", "step_crashed", "convert"),
        ("allocate", "step_out_of_memory", "load"),
        ("link_outputs", "conversion_failed", "verify"),
    ],
)
async def test_a_bad_step_fails_the_job_with_its_log_and_the_worker_goes_on(
    floor: Floor, tmp_path: Path, deed: str, code: str, stage: str
) -> None:
    async with floor.worker(deed, tmp_path):
        for _ in range(2):
            job = await floor.request()
            fact = await floor.end(job.job_id)
            assert isinstance(fact, ExportFailedV1)
            assert (fact.error.code, fact.error.stage) == (code, stage)
            assert fact.log is not None
            assert code.encode() in await floor.store.get_bytes(fact.log.key, 1 << 20)
            assert (fact.parity_report is not None) == (deed == "fail_parity")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"checkpoint_path": "s3://other-bucket/uploads/model.pt"}, "invalid_uri"),
        ({"checkpoint_path": "http://169.254.169.254/model.pt"}, "invalid_uri"),
        ({"checkpoint_path": "s3://vision-platform/uploads/nothing/model.pt"}, "object_missing"),
        ({"checkpoint_max_bytes": 10}, "checkpoint_too_large"),
    ],
)
async def test_a_checkpoint_that_cannot_be_fetched_is_told(
    floor: Floor, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    async with floor.worker("export", tmp_path):
        fact = await floor.end((await floor.request(**changes)).job_id)
    assert isinstance(fact, ExportFailedV1)
    assert (fact.error.code, fact.error.stage) == (code, "fetch")


async def test_a_folder_is_fetched_whole(floor: Floor, tmp_path: Path) -> None:
    folder = f"uploads/{uuid4()}/model"
    for name in ("config.json", "model.safetensors", "sub/vocab.txt"):
        await floor.store.put_bytes(f"{folder}/{name}", b"{}")
    path = f"s3://{floor.store.bucket}/{folder}/"
    async with floor.worker("list_input", tmp_path):
        job = await floor.request(checkpoint_path=path, framework=Framework.HUGGINGFACE)
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ExportFailedV1)
    assert fact.error.message == "model/config.json model/model.safetensors model/sub/vocab.txt"


async def test_cancelling_kills_the_run_and_states_nothing(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("hang", tmp_path):
        job = await floor.request()
        await floor.until(lambda: bool(floor.of(ExportProgressedV1, job.job_id)))
        await asyncio.sleep(1.0)
        pids = [pid for pid in watch.tree(os.getpid()) if b"hostile" in command_line(pid) or b"bwrap" in command_line(pid)]
        assert pids
        await floor.bus.publish(ExportCancelledV1(job_id=job.job_id), subject_id=job.job_id, sequence=0)
        await floor.until(lambda: not any(watch.is_alive(pid) for pid in pids), seconds=10)
        await asyncio.sleep(0.3)
        assert floor.of(ExportFailedV1, job.job_id) == []
        await floor.until(lambda: not list((tmp_path / "runs").iterdir()), seconds=5)


async def test_a_job_cancelled_before_it_is_taken_does_not_start(floor: Floor, tmp_path: Path) -> None:
    job = await floor.request()
    await floor.bus.publish(ExportCancelledV1(job_id=job.job_id), subject_id=job.job_id, sequence=0)
    async with floor.worker("export", tmp_path):
        other = await floor.request()
        assert isinstance(await floor.end(other.job_id), ModelExportedV1)
    assert floor.of(ExportProgressedV1, job.job_id) == []


async def test_a_run_that_dies_is_spoken_for(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("hang", tmp_path):
        job = await floor.request()
        await floor.until(lambda: bool(floor.of(ExportProgressedV1, job.job_id)))
        (victim,) = [pid for pid in watch.tree(os.getpid()) if b"fake_run" in command_line(pid)]
        os.kill(victim, signal.SIGKILL)
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ExportFailedV1)
    assert fact.error.code == "internal"
    assert fact.log is not None


async def test_a_worker_killed_mid_job_leaves_no_process_and_its_successor_does_the_job(
    floor: Floor, tmp_path: Path
) -> None:
    environ = {**floor.environ, "MODELPORT_TEST_DEED": "hang", "MODELPORT_PORT": str(free_ports(1)[0])}
    worker = await asyncio.create_subprocess_exec(sys.executable, str(FAKE_WORKER), env=environ)
    job = await floor.request()
    await floor.until(lambda: bool(floor.of(ExportProgressedV1, job.job_id)))
    await asyncio.sleep(1.0)
    pids = watch.tree(worker.pid)
    assert len(pids) > 5
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    await floor.until(lambda: not any(watch.is_alive(pid) for pid in pids), seconds=10)
    async with floor.worker("export", tmp_path):
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ModelExportedV1)
    assert fact.attempt == 2
    assert fact.model.key == f"exports/{job.job_id}/attempts/2/model.onnx"


async def test_a_job_that_kills_every_worker_is_given_up(floor: Floor, tmp_path: Path) -> None:
    job = await floor.request()
    for attempt in (1, 2):
        taken = await Leases(floor.bus, stale_s=0.0).take(str(job.job_id), "dead worker")
        assert isinstance(taken, Lease) and taken.attempt == attempt
    async with floor.worker("export", tmp_path, MODELPORT_MAX_DELIVER="2"):
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ExportFailedV1)
    assert (fact.error.code, fact.attempt) == ("worker_lost", 3)


async def test_a_duplicate_request_states_its_end_once(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("export", tmp_path, MODELPORT_SLOTS="2"):
        job = await floor.request()
        await floor.bus.publish(job, subject_id=job.job_id, sequence="again")
        assert isinstance(await floor.end(job.job_id), ModelExportedV1)
        await asyncio.sleep(2.5)
        assert isinstance(await floor.end(job.job_id), ModelExportedV1)


async def test_a_stopped_worker_hands_its_job_on(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("hang", tmp_path):
        job = await floor.request()
        await floor.until(lambda: bool(floor.of(ExportProgressedV1, job.job_id)))
    async with floor.worker("export", tmp_path):
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ModelExportedV1)
    assert fact.attempt == 2


async def test_without_a_sandbox_the_worker_says_so_and_takes_nothing(floor: Floor, tmp_path: Path) -> None:
    state = SandboxState(available=False, description="not installed: bwrap")
    async with floor.worker("export", tmp_path, sandbox=state) as app:
        job = await floor.request()
        told = await announced(floor.bus)
        assert {name: a.available for name, a in told.formats.items()} == dict.fromkeys(ExportFormat, False)
        assert told.formats[ExportFormat.ONNX].reason.startswith("sandbox_unavailable")
        status, body = await get(app.health_port, "/readyz")
        assert status == 503 and "bwrap" in body
        await asyncio.sleep(1.0)
    assert floor.facts == []
    assert job.job_id


async def test_a_living_worker_is_announced_and_a_stopped_one_is_not(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("export", tmp_path, MODELPORT_SLOTS="3") as app:
        told = await announced(floor.bus)
        assert told.slots == 3 and told.busy == 0
        assert told.formats[ExportFormat.ONNX].available
        assert not told.formats[ExportFormat.TENSORRT].available
        assert (await get(app.health_port, "/readyz"))[0] == 200
    with pytest.raises(NoKeysError):
        await (await floor.bus.kv(WORKERS)).keys()


async def test_a_warm_run_serves_one_job_and_a_new_one_takes_its_place(floor: Floor, tmp_path: Path) -> None:
    warm = {"MODELPORT_WARM_RUNS": "true", "MODELPORT_WARM_DELAY_S": "0.05"}
    async with floor.worker("export", tmp_path, **warm):
        seen: set[int] = set()
        for _ in range(2):
            await floor.until(lambda: bool(warm_runs() - seen))
            (pid,) = warm_runs() - seen
            await asyncio.sleep(1.0)
            seen.add(pid)
            fact = await floor.end((await floor.request()).job_id)
            assert isinstance(fact, ModelExportedV1)
            assert not watch.is_alive(pid)
    assert warm_runs() == set()


def warm_runs() -> set[int]:
    return {pid for pid in watch.tree(os.getpid()) if b"fake_run.py\0--warm" in command_line(pid)}


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def announced(bus: Bus) -> WorkerAnnouncement:
    bucket = await bus.kv(WORKERS, ttl=45, memory=True)
    (key,) = await bucket.keys()
    return msgspec.json.decode((await bucket.get(key)).value or b"", type=WorkerAnnouncement)


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer
