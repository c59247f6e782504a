"""What every launcher must do, held against the one that there is."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from contracts.events import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker.launchers import Launcher, RunHandle, RunState
from export_worker.launchers.politeness import POLITE, may_take_back
from export_worker.launchers.subprocess import SubprocessLauncher, clean
from servicekit import tasks
from servicekit.sandbox import watch

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
if sys.argv[1:2] == ["--warm"]:
    print("ready", flush=True)
    os.environ.update(json.loads(sys.stdin.readline() or sys.exit(0)))
root = Path(os.environ["MODELPORT_RUN_DIR"])
root.mkdir(parents=True)
(root / "log.txt").write_text(json.dumps(dict(os.environ)))
name = os.environ["MODEL_NAME"]
if name == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.fork()
while name in ("slow", "stubborn"):
    time.sleep(0.05)
sys.exit(int(name))
"""


def run(name: str, attempt: int = 1, framework: Framework = Framework.TIMM) -> ExportRun:
    request = ExportRequestedV1(
        job_id=uuid4(),
        user_id=UUID(int=1),
        training_job_id=UUID(int=1),
        version=1,
        framework=framework,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name=name,
        checkpoint_path="s3://vision-platform/x",
        checkpoint_max_bytes=1,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(),
    )
    return ExportRun(request=request, attempt=attempt, worker_id="w", traceparent="00-1-2-01")


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[SubprocessLauncher]:
    environ = {"PATH": os.environ["PATH"], "MODELPORT_S3_SECRET_KEY": "s", "MODELPORT_POSTGRES_DSN": "p", "HOME": "h"}
    made = SubprocessLauncher(tmp_path, environ, command=(sys.executable, "-S", "-c", SCRIPT))
    yield made
    await made.stop()
    assert list(tmp_path.iterdir()) == []


async def ended(launcher: Launcher, handle: RunHandle) -> RunState:
    while (state := await launcher.poll(handle)) is RunState.RUNNING:
        await asyncio.sleep(0.02)
    return state


async def started(launcher: Launcher, handle: RunHandle) -> Path:
    while (log := (await launcher.remains(handle)).log) is None or not log.read_text():
        await asyncio.sleep(0.02)
    return log


@pytest.mark.parametrize(("name", "state"), [("0", RunState.SUCCEEDED), ("75", RunState.FAILED)])
async def test_an_end_is_seen_with_its_status(launcher: Launcher, name: str, state: RunState) -> None:
    handle = await launcher.launch(run(name))
    assert await ended(launcher, handle) is state
    assert (await launcher.remains(handle)).exit_code == int(name)


async def test_launching_twice_is_one_run(launcher: Launcher, tmp_path: Path) -> None:
    wanted = run("slow")
    handle = await launcher.launch(wanted)
    await started(launcher, handle)
    assert await launcher.launch(wanted) == handle
    assert len(list(tmp_path.iterdir())) == 1


async def test_an_unknown_run_is_lost(launcher: Launcher) -> None:
    assert await launcher.poll(RunHandle("export-nobody-1")) is RunState.LOST
    await launcher.cancel(RunHandle("export-nobody-1"))


async def test_a_run_gets_its_job_and_no_secret_that_it_does_not_read(launcher: Launcher) -> None:
    handle = await launcher.launch(run("slow"))
    told = (await started(launcher, handle)).read_text()
    assert '"TRACEPARENT": "00-1-2-01"' in told
    assert "MODELPORT_S3_SECRET_KEY" in told
    assert "MODELPORT_POSTGRES_DSN" not in told
    assert '"HOME"' not in told


@pytest.mark.parametrize("name", ["slow", "stubborn"])
async def test_cancelling_leaves_no_process_whatever_the_run_does(launcher: SubprocessLauncher, name: str) -> None:
    handle = await launcher.launch(run(name))
    await started(launcher, handle)
    pid = launcher._runs[handle.id].process.pid
    while len(pids := watch.tree(pid)) < (2 if name == "stubborn" else 1):
        await asyncio.sleep(0.02)
    await launcher.cancel(handle, grace_s=0.3)
    assert not any(watch.is_alive(pid) for pid in pids)
    assert await launcher.poll(handle) is RunState.FAILED


async def test_a_run_killed_from_outside_has_failed(launcher: SubprocessLauncher) -> None:
    handle = await launcher.launch(run("slow"))
    await started(launcher, handle)
    os.kill(launcher._runs[handle.id].process.pid, signal.SIGKILL)
    assert await ended(launcher, handle) is RunState.FAILED


async def test_a_warm_run_takes_one_job_of_its_framework(launcher: SubprocessLauncher) -> None:
    assert await launcher.warm_up(Framework.TIMM)
    assert await launcher.warm_up(Framework.TIMM)
    assert launcher.warm_count == 1
    (warm,) = [child.process.pid for child in launcher._warm.values()]
    assert os.getpriority(os.PRIO_PROCESS, warm) == (POLITE if may_take_back() else 0)
    other = await launcher.launch(run("slow", framework=Framework.HUGGINGFACE))
    own = await launcher.launch(run("slow"))
    second = await launcher.launch(run("slow"))
    assert launcher._runs[own.id].process.pid == warm
    assert os.getpriority(os.PRIO_PROCESS, warm) == 0
    assert warm not in (launcher._runs[other.id].process.pid, launcher._runs[second.id].process.pid)
    assert launcher.warm_count == 0


async def test_a_run_that_is_still_importing_takes_its_job_and_leaves_those_of_others_alone(tmp_path: Path) -> None:
    script = SCRIPT.replace('print("ready", flush=True)', "pass")
    launcher = SubprocessLauncher(tmp_path, {}, command=(sys.executable, "-S", "-c", script))
    warming = [asyncio.create_task(launcher.warm_up(name)) for name in (Framework.TIMM, Framework.HUGGINGFACE)]
    while len(launcher._warm) < 2:
        await asyncio.sleep(0.01)
    pids = {name: child.process.pid for name, child in launcher._warm.items()}
    handle = await launcher.launch(run("0"))
    assert launcher._runs[handle.id].process.pid == pids[Framework.TIMM]
    assert await ended(launcher, handle) is RunState.SUCCEEDED
    assert await warming[0]
    assert watch.is_alive(pids[Framework.HUGGINGFACE])
    warming[1].cancel()
    await asyncio.gather(warming[1], return_exceptions=True)
    assert not watch.is_alive(pids[Framework.HUGGINGFACE])
    await launcher.stop()


async def test_a_run_that_is_still_importing_ends_however_often_its_keeper_is_cancelled(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    script = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(deaf)!r}, 'w'); signal.pause()"
    launcher = SubprocessLauncher(tmp_path, {}, command=(sys.executable, "-S", "-c", script))
    warming = asyncio.create_task(launcher.warm_up(Framework.TIMM))
    while not deaf.exists():
        await asyncio.sleep(0.01)
    (pid,) = [child.process.pid for child in launcher._warm.values()]
    await tasks.end(warming)
    assert not watch.is_alive(pid)
    await launcher.stop()


async def test_a_warm_run_that_died_is_replaced_by_a_cold_one(launcher: SubprocessLauncher) -> None:
    await launcher.warm_up(Framework.TIMM)
    (warm,) = launcher._warm.values()
    os.kill(warm.process.pid, signal.SIGKILL)
    await warm.process.wait()
    assert await ended(launcher, await launcher.launch(run("0"))) is RunState.SUCCEEDED


async def test_a_toolchain_that_does_not_come_up_is_told(tmp_path: Path) -> None:
    launcher = SubprocessLauncher(tmp_path, {}, command=(sys.executable, "-S", "-c", "raise SystemExit(75)"))
    assert not await launcher.warm_up(Framework.TIMM)
    assert launcher.warm_count == 0


def test_the_environment_is_cut_to_what_runs_read() -> None:
    kept = clean({"OTEL_SERVICE_NAME": "x", "MODELPORT_NATS_URL": "n", "MODELPORT_KEY_PEPPER": "p", "AWS_PROFILE": "a"})
    assert kept == {"OTEL_SERVICE_NAME": "x", "MODELPORT_NATS_URL": "n"}
