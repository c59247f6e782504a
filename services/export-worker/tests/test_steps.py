"""What a step can do to its worker: nothing but end with a clear error."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from contracts.vocabulary import ExportStage
from export_worker.sandbox.messages import Progress
from export_worker.sandbox.steps import Outcome, Step
from servicekit.sandbox import watch
from servicekit.sandbox.job_dir import JobDir

from .conftest import SMALL

pytestmark = pytest.mark.integration
Start = Callable[..., Awaitable[Step]]


async def outcome(start: Start, deed: str, **limits: object) -> Outcome:
    step = await start(deed, msgspec.structs.replace(SMALL, **limits))
    pids = watch.tree(step.pid)
    result = await step.finish(lambda _: None)
    assert not any(watch.is_alive(pid) for pid in pids)
    return result


async def hanging(step: Step) -> list[int]:
    """All processes of a step whose deed is to hang, told to go before its time begins."""
    assert await step.ready()
    before = len(watch.tree(step.pid))
    assert step._process is not None
    assert step._process.stdin is not None
    step._process.stdin.write(b"go\n")
    async with asyncio.timeout(100):
        while len(pids := watch.tree(step.pid)) < before + 3:
            await asyncio.sleep(0.01)
    return pids


async def test_success_reports_progress_and_durations(step_of: Start, job: JobDir) -> None:
    heard: list[Progress] = []
    step = await step_of("succeed")
    assert await step.ready()
    result = await step.finish(heard.append)
    assert result.error is None
    assert result.durations_s == {ExportStage.LOAD: 0.25, ExportStage.CONVERT: 0.5}
    assert [(p.stage, p.fraction) for p in heard] == [(ExportStage.LOAD, 1.0), (ExportStage.CONVERT, 0.5)]
    assert (job.path / "output/model.onnx").read_bytes() == b"onnx"


@pytest.mark.parametrize(
    ("deed", "code", "stage", "words"),
    [
        ("fail", "unsupported_operator", "convert", "no such operator"),
        ("crash", "step_crashed", "convert", "SIGSEGV"),
        ("abort", "step_crashed", "load", "SIGABRT"),
        ("quit_silently", "step_crashed", "load", "status 0"),
        ("raise_error", "step_crashed", "load", "status 1"),
        ("allocate", "step_out_of_memory", "load", "256 MiB"),
        ("allocate_at_once", "step_out_of_memory", "load", "256 MiB"),
        ("allocate_shared", "step_out_of_memory", "load", "256 MiB"),
        ("allocate_in_children", "step_out_of_memory", "load", "256 MiB"),
        ("many_files", "step_disk_full", "load", "64 MiB"),
        ("unlinked_files", "step_disk_full", "load", "64 MiB"),
    ],
)
async def test_each_death_has_its_name(step_of: Start, deed: str, code: str, stage: str, words: str) -> None:
    error = (await outcome(step_of, deed)).error
    assert error is not None
    assert (error.code, error.stage) == (code, stage)
    assert words in error.message
    assert error.hint
    assert not error.retryable


async def test_a_hanging_step_is_ended_with_all_its_processes(step_of: Start) -> None:
    step = await step_of("hang", msgspec.structs.replace(SMALL, wall_s=0.2))
    pids = await hanging(step)
    error = (await step.finish(lambda _: None)).error
    assert error is not None
    assert error.code == "step_timeout"
    assert not any(watch.is_alive(pid) for pid in pids)


async def test_a_cancelled_step_leaves_no_process(step_of: Start) -> None:
    step = await step_of("hang")
    pids = await hanging(step)
    finishing = asyncio.create_task(step.finish(lambda _: None))
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert not any(watch.is_alive(pid) for pid in pids)


async def test_processes_are_bounded(step_of: Start) -> None:
    error = (await outcome(step_of, "fork_bomb", memory_bytes=1 << 30)).error
    assert error is not None
    assert error.code == "step_crashed" or int(error.message.split()[0]) < SMALL.processes


async def test_a_file_is_bounded(step_of: Start, job: JobDir) -> None:
    error = (await outcome(step_of, "giant_file", disk_bytes=1 << 40)).error
    assert error is not None
    assert "large" in error.cause
    assert (job.path / "output/model.onnx").stat().st_size <= SMALL.file_bytes


async def test_a_step_may_only_name_its_own_codes(step_of: Start) -> None:
    error = (await outcome(step_of, "forge_code")).error
    assert error is not None
    assert error.code == "conversion_failed"
    assert error.message == "a" * 1000
    assert error.stage == "load"


async def test_garbage_on_standard_output_is_log_text(step_of: Start, job: JobDir) -> None:
    heard: list[Progress] = []
    step = await step_of("garbage")
    result = await step.finish(heard.append)
    assert result.error is None
    assert [p.stage for p in heard] == [ExportStage.LOAD, ExportStage.CONVERT]
    assert b"not json" in job.log.read_bytes()


async def test_the_log_is_bounded_and_keeps_both_ends(step_of: Start, job: JobDir) -> None:
    limits = msgspec.structs.replace(SMALL, memory_bytes=1 << 30)
    step = await step_of("giant_log", limits)
    assert (await step.finish(lambda _: None)).error is None
    step._log.close()
    text = job.log.read_bytes()
    assert len(text) < SMALL.log_bytes + 200
    for words in (b"first words", b"last words", b"left out here"):
        assert words in text


async def test_nothing_of_the_host_is_in_reach(
    step_of: Start, job: JobDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPORT_S3_SECRET_KEY", "secret")
    other = tmp_path / "other-job"
    other.mkdir()
    (other / "model.pt").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        request = {
            "paths": [
                str(other),
                str(other / "model.pt"),
                str(job.log),
                str(Path(__file__)),
                str(Path(__file__).parents[3] / ".git"),
            ],
            "sockets": [str(tmp_path / "s")],
            "port": tcp.getsockname()[1],
        }
        job.write_request(json.dumps(request).encode())
        error = (await outcome(step_of, "snoop")).error
    assert error is not None
    assert json.loads(error.message) == []


async def test_the_step_is_nobody_with_a_clean_environment(step_of: Start) -> None:
    error = (await outcome(step_of, "who")).error
    assert error is not None
    told = json.loads(error.message)
    assert told["uid"] not in (0, os.getuid() or -1)
    assert not {"MODELPORT_S3_SECRET_KEY", "SSH_AUTH_SOCK", "VIRTUAL_ENV"} & set(told["env"])


async def test_a_warm_child_waits_without_work(step_of: Start) -> None:
    step = await step_of("succeed")
    assert await step.ready()
    time.sleep(0.2)
    assert watch.is_alive(step.pid)
    await step.kill()
    assert not await step.ready()
