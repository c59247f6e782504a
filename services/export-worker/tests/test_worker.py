"""The worker on real servers: a request goes in, exactly one terminal fact comes out, whatever the checkpoint does."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.events import (
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    ModelExportedV1,
)
from contracts.vocabulary import ExportStage, Framework
from servicekit.leases import Lease, Leases
from servicekit.sandbox import watch
from servicekit.servers import free_ports

from .floor import FAKE_WORKER, Floor, command_line

pytestmark = pytest.mark.integration


async def test_a_request_becomes_an_artefact(floor: Floor, tmp_path: Path) -> None:
    async with floor.worker("export", tmp_path):
        job = await floor.request()
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ModelExportedV1)
    assert fact.attempt == 1
    assert fact.model.key == f"exports/{job.job_id}/attempts/1/model.onnx"
    model = await floor.store.get_bytes(fact.model.key, 1 << 20)
    assert b"Neg" in model
    assert fact.metadata.provenance.checkpoint_sha256 != "0" * 64
    assert fact.metadata.sizes.exported_size_bytes == len(model)
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
        ({"checkpoint_path": f"s3://vision-platform/uploads/{uuid4()}/model.pt"}, "invalid_uri"),
        ({"checkpoint_path": "http://169.254.169.254/model.pt"}, "invalid_uri"),
        ({"checkpoint_path": "s3://vision-platform/trained/nothing/model.pt"}, "object_missing"),
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
    folder = f"trained/{uuid4()}/model"
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
        pids = [
            pid for pid in watch.tree(os.getpid()) if b"hostile" in command_line(pid) or b"bwrap" in command_line(pid)
        ]
        assert pids
        await floor.bus.publish(ExportCancelledV1(job_id=job.job_id), subject_id=job.job_id, sequence=0)
        await floor.until_gone(*pids)
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
        # The first of them is the run: one that it forks has its command line too until it has become another program.
        victim = next(pid for pid in watch.tree(os.getpid()) if b"fake_run" in command_line(pid))
        os.kill(victim, signal.SIGKILL)
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ExportFailedV1)
    assert fact.error.code == "internal"
    assert fact.log is not None


async def test_a_worker_killed_mid_job_leaves_no_process_and_its_successor_does_the_job(
    floor: Floor, tmp_path: Path
) -> None:
    environ = {**floor.environ, "MODELPORT_PORT": str(free_ports(1)[0])}
    worker = await asyncio.create_subprocess_exec(sys.executable, str(FAKE_WORKER), "hang", env=environ)
    job = await floor.request()
    await floor.until(lambda: bool(floor.of(ExportProgressedV1, job.job_id)))
    await asyncio.sleep(1.0)
    pids = watch.tree(worker.pid)
    assert len(pids) > 5
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    await floor.until_gone(*pids)
    async with floor.worker("export", tmp_path):
        fact = await floor.end(job.job_id)
    assert isinstance(fact, ModelExportedV1)
    assert fact.attempt == 2
    assert fact.model.key == f"exports/{job.job_id}/attempts/2/model.onnx"


async def test_a_job_that_kills_every_worker_is_given_up(floor: Floor, tmp_path: Path) -> None:
    job = await floor.request()
    for attempt in (1, 2):
        taken = await Leases(floor.bus, stale_s=0.0).take(str(job.job_id), "dead worker")
        assert isinstance(taken, Lease)
        assert taken.attempt == attempt
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
