"""Identical exports are made once, for one user alone; whatever differs is made again."""

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from contracts import keys
from contracts.events import ExportFailedV1, ExportRequestedV1, ModelExportedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions, TensorRtOptions
from export_worker import reuse
from export_worker.run import Exit
from export_worker.toolchains import nvidia_gpus
from servicekit.leases import Lease, Leases

from .floor import CHECKPOINT, FAKE_RUN, Floor

pytestmark = pytest.mark.integration
BREAKS = "crash"
"""What a step does that must not run any more."""


async def run(floor: Floor, deed: str, user_id: UUID, body: bytes = CHECKPOINT, **changes: object) -> ExportRequestedV1:
    """One job of the user with a checkpoint uploaded anew, done by a step that does `deed`."""
    key = f"uploads/{user_id}/{uuid4()}/model.pt"
    await floor.store.put_bytes(key, body)
    path = f"s3://{floor.store.bucket}/{key}"
    request = await floor.request(user_id=user_id, checkpoint_path=path, **changes)
    lease = await Leases(floor.bus).take(str(request.job_id), "w")
    assert isinstance(lease, Lease)
    environ = {**floor.environ, **ExportRun(request=request, attempt=lease.attempt, worker_id="w").to_env()}
    process = await asyncio.create_subprocess_exec(sys.executable, str(FAKE_RUN), deed, env=environ)
    assert await process.wait() == Exit.STATED
    return request


async def exported(floor: Floor, request: ExportRequestedV1) -> ModelExportedV1:
    fact = await floor.end(request.job_id)
    assert isinstance(fact, ModelExportedV1), fact
    return fact


async def test_the_same_again_is_stated_without_being_made(floor: Floor) -> None:
    user = uuid4()
    first = await exported(floor, await run(floor, "export", user))
    second = await exported(floor, await run(floor, BREAKS, user, version=7))

    assert (second.model.sha256, second.goldens.sha256) == (first.model.sha256, first.goldens.sha256)
    assert str(second.job_id) in second.model.key
    assert await floor.store.get_bytes(second.model.key, 1 << 30)
    assert second.metadata.model_info.version == 7
    assert second.proof is first.proof


@pytest.mark.parametrize(
    ("user", "body", "changes"),
    [
        (True, CHECKPOINT, {}),
        (False, CHECKPOINT + b"!", {}),
        (False, CHECKPOINT, {"options": OnnxOptions(opset_version=18)}),
        (False, CHECKPOINT, {"classes": ["cat"]}),
    ],
    ids=["another user", "another checkpoint", "another option", "other classes"],
)
async def test_whatever_differs_is_made(floor: Floor, user: bool, body: bytes, changes: dict[str, object]) -> None:
    first = uuid4()
    await exported(floor, await run(floor, "export", first))
    request = await run(floor, BREAKS, uuid4() if user else first, body, **changes)
    assert isinstance(await floor.end(request.job_id), ExportFailedV1)


async def test_a_result_whose_objects_are_gone_is_made_again(floor: Floor) -> None:
    user = uuid4()
    first = await exported(floor, await run(floor, "export", user))
    await floor.store.delete(first.model.key)
    request = await run(floor, BREAKS, user)
    assert isinstance(await floor.end(request.job_id), ExportFailedV1)


async def test_a_result_is_found_in_its_package_when_the_attempt_was_swept(floor: Floor) -> None:
    user = uuid4()
    first = await exported(floor, await run(floor, "export", user))
    for one in (first.model, first.parity_report, first.goldens):
        await floor.store.copy(one.key, keys.export_file(first.job_id, one.key.rpartition("/")[2]), one.size_bytes)
        await floor.store.delete(one.key)
    second = await exported(floor, await run(floor, BREAKS, user))
    assert second.goldens.sha256 == first.goldens.sha256
    assert await floor.store.get_bytes(second.goldens.key, 1 << 30)


async def test_a_kept_result_that_cannot_be_read_is_none(floor: Floor) -> None:
    request = await run(floor, "export", uuid4())
    await floor.store.put_bytes(reuse.key(request, "0" * 64), b"{}")
    assert await reuse.find(floor.store, request, "0" * 64) is None


async def test_reuse_can_be_switched_off(floor: Floor) -> None:
    user = uuid4()
    await exported(floor, await run(floor, "export", user))
    floor.environ["MODELPORT_REUSE_RESULTS"] = "off"
    request = await run(floor, BREAKS, user)
    assert isinstance(await floor.end(request.job_id), ExportFailedV1)


BASE = ExportRequestedV1(
    job_id=uuid4(), user_id=uuid4(), training_job_id=uuid4(), version=1, framework="timm", task_type="image_classification",
    model_name="m", checkpoint_path="s3://b/x", checkpoint_max_bytes=1, export_format="onnx", options=OnnxOptions(),
)  # fmt: skip


def test_the_place_depends_on_nothing_that_names_the_job() -> None:
    other = msgspec.structs.replace(BASE, job_id=uuid4(), version=2, checkpoint_path="s3://b/y", timeout_s=3)
    assert reuse.key(BASE, "a") == reuse.key(other, "a") != reuse.key(BASE, "b")


def test_an_engine_is_kept_for_the_gpu_that_it_was_built_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def places(model: str) -> list[str]:
        gpu = tmp_path / model / "0000:01:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(f"Model: \t {model}\nIRQ:   \t 7\n")
        monkeypatch.setattr(reuse, "nvidia_gpus", lambda: nvidia_gpus(tmp_path / model))
        asked = (TensorRtOptions(), TensorRtOptions(flavor="rtx"))
        return [reuse.key(msgspec.structs.replace(BASE, options=one), "a") for one in asked]

    (here, ahead), (there, as_ahead) = places("NVIDIA A100"), places("NVIDIA L4")
    assert here != there
    assert ahead == as_ahead
