"""A hostile child in the sandbox of this machine, and rooms to run it in."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from contracts.events import ExportFailedV1, ExportProgressedV1, ModelExportedV1
from contracts.vocabulary import Framework
from export_worker.sandbox.steps import Step
from servicekit import replay
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.bubblewrap import MIB, Limits, Sandbox
from servicekit.sandbox.job_dir import JobDir
from servicekit.telemetry import Telemetry
from servicekit.testing import NatsServer, S3Server
from servicekit.workplace import delete

from .floor import Floor

HOSTILE_CHILD = Path(__file__).parent / "hostile_child.py"
SMALL = Limits(
    memory_bytes=256 * MIB,
    processes=64,
    file_bytes=32 * MIB,
    disk_bytes=64 * MIB,
    log_bytes=64 * 1024,
    wall_s=100.0,
)


@pytest.fixture
def job(tmp_path: Path, sandbox: Sandbox) -> Iterator[JobDir]:
    made = JobDir.create(tmp_path / "run", sandbox.uid())
    shutil.copy(HOSTILE_CHILD, made.input / "child.py")
    yield made
    delete(made.root)


@pytest.fixture
async def step_of(sandbox: Sandbox, job: JobDir) -> AsyncIterator[Callable[..., object]]:
    """Starts a child that will do the named deed."""
    started: list[Step] = []

    async def start(deed: str, limits: Limits = SMALL) -> Step:
        log = BoundedLog(job.log, limits.log_bytes)
        step = Step(sandbox, job, limits, log, command=(sys.executable, "-S", "/job/input/child.py", deed))
        await step.start(Framework.ULTRALYTICS)
        started.append(step)
        return step

    yield start
    for step in started:
        await step.kill()


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
