"""A hostile child in the sandbox of this machine, and rooms to run it in."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from contracts.vocabulary import Framework
from export_worker.job_dir import JobDir, delete
from export_worker.sandbox import MIB, Limits, Sandbox, make
from export_worker.step_log import StepLog
from export_worker.steps import Step

HOSTILE_CHILD = Path(__file__).parent / "hostile_child.py"
SMALL = Limits(
    memory_bytes=256 * MIB,
    processes=64,
    file_bytes=32 * MIB,
    disk_bytes=64 * MIB,
    log_bytes=64 * 1024,
    wall_s=30.0,
)


@pytest.fixture(params=["own_uid", "user_namespace"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Both ways to isolate that this machine can try."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    if request.param == "own_uid" and os.geteuid() != 0:
        pytest.skip("a user id of its own needs root")
    return make(bwrap, own_uid=request.param == "own_uid")


@pytest.fixture
def job(tmp_path: Path, sandbox: Sandbox) -> Iterator[JobDir]:
    made = JobDir.create(tmp_path / "run", sandbox.uid())
    shutil.copy(HOSTILE_CHILD, made.input / "child.py")
    yield made
    delete(made.root)


MakeStep = Callable[..., Step]


@pytest.fixture
async def step_of(sandbox: Sandbox, job: JobDir) -> AsyncIterator[Callable[..., object]]:
    """Starts a child that will do the named deed."""
    started: list[Step] = []

    async def start(deed: str, limits: Limits = SMALL) -> Step:
        log = StepLog(job.log, limits.log_bytes)
        step = Step(sandbox, job, limits, log, command=(sys.executable, "-S", "/job/input/child.py", deed))
        await step.start(Framework.ULTRALYTICS)
        started.append(step)
        return step

    yield start
    for step in started:
        await step.kill()
