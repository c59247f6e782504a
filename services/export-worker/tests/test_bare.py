"""A worker without bubblewrap: it says so, takes safetensors, and refuses by name what runs code, unless the risk is accepted."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.errors import Permanent
from contracts.events import ExportFailedV1, ModelExportedV1
from contracts.export_options import OnnxOptions
from contracts.vocabulary import Framework, TaskType
from export_worker import plain
from export_worker.app import App, build_app
from export_worker.sandbox.steps import Step
from export_worker.settings import load
from servicekit.sandbox import watch
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.job_dir import JobDir
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.workplace import delete

from .conftest import HOSTILE_CHILD, SMALL
from .floor import Floor
from .test_app import announced, get

pytestmark = pytest.mark.integration
MAKE_TIMM = """
import sys, timm, torch
from safetensors.torch import save_file
model = timm.create_model("resnet10t", num_classes=4)
save_file(model.state_dict(), sys.argv[1] + "/model.safetensors")
torch.save(model.state_dict(), sys.argv[1] + "/model.pth")
"""


@pytest.fixture(scope="module")
def without_bwrap(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with everything but bwrap."""
    folder = tmp_path_factory.mktemp("bin")
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if program.name != "bwrap" and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    subprocess.run([sys.executable, "-c", MAKE_TIMM, str(folder)], check=True)
    return folder


@pytest.fixture
def worker(floor: Floor, telemetry: Telemetry, without_bwrap: str) -> Callable[..., object]:
    @asynccontextmanager
    async def start(**variables: str) -> Iterator[App]:
        own = {"PATH": without_bwrap, "MODELPORT_STEP_MEMORY_MIB": "4096", "MODELPORT_PORT": str(free_ports(1)[0])}
        environ = {**floor.environ, **own, **variables}
        app = build_app(load(environ), telemetry=telemetry, environ=environ)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()

    return start


async def ends(floor: Floor, checkpoint: Path) -> ModelExportedV1 | ExportFailedV1:
    key = f"trained/{checkpoint.name}"
    await floor.store.put_file(key, checkpoint)
    job = await floor.request(
        checkpoint_path=f"s3://{floor.store.bucket}/{key}",
        checkpoint_max_bytes=1 << 30,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet10t",
        options=OnnxOptions(image_size=(64, 64)),
    )
    return await floor.end(job.job_id, seconds=240)


async def test_it_says_so_and_takes_only_safetensors(floor: Floor, worker: Callable[..., object], weights: Path):
    async with worker() as app:
        told = await announced(floor.bus)
        assert told.sandbox.startswith("none: not installed: bwrap")
        assert told.sandbox.endswith("takes only safetensors")
        assert not told.frameworks[Framework.ULTRALYTICS].available
        assert told.frameworks[Framework.TIMM].available
        status, body = await get(app.health_port, "/readyz")
        assert status == 200
        assert "takes only safetensors" in body
        refused = await ends(floor, weights / "model.pth")
        exported = await ends(floor, weights / "model.safetensors")
    assert isinstance(refused, ExportFailedV1)
    assert refused.error.code == "checkpoint_needs_sandbox"
    assert "model.pth is no safetensors file" in refused.error.message
    assert "safetensors" in refused.error.hint
    assert isinstance(exported, ModelExportedV1), exported


async def test_an_operator_may_accept_the_risk_by_name(floor: Floor, worker: Callable[..., object], weights: Path):
    async with worker(MODELPORT_UNSANDBOXED_CHECKPOINTS="accept"):
        told = await announced(floor.bus)
        assert told.sandbox.endswith("takes every checkpoint, by MODELPORT_UNSANDBOXED_CHECKPOINTS=accept")
        assert told.frameworks[Framework.ULTRALYTICS].available
        exported = await ends(floor, weights / "model.pth")
    assert isinstance(exported, ModelExportedV1), exported


def model_zip(folder: Path, *names: str) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("config.json", "model.safetensors", "README.md"), ""),
        (("vit/config.json", "vit/model.safetensors"), ""),
        (("config.json", "pytorch_model.bin"), "pytorch_model.bin"),
        (("config.json", "model.safetensors", "pytorch_model.bin"), "pytorch_model.bin"),
        (("config.json", "model.safetensors", "modeling.py"), "modeling.py"),
        (("config.json",), "has no safetensors"),
    ],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_hugging_face_model_is_judged_by_its_files(
    tmp_path: Path, names: tuple[str, ...], words: str, is_folder: bool
) -> None:
    path = model_zip(tmp_path, *names)
    if is_folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "model")
        path = tmp_path / "model"
    if not words:
        plain.require(path, Framework.HUGGINGFACE)
        return
    with pytest.raises(Permanent, match=words) as caught:
        plain.require(path, Framework.HUGGINGFACE)
    assert caught.value.code == "checkpoint_needs_sandbox"


def test_ultralytics_needs_a_sandbox_whatever_the_file_is(weights: Path) -> None:
    with pytest.raises(Permanent, match="runs code when it is opened"):
        plain.require(weights / "model.safetensors", Framework.ULTRALYTICS)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobDir]:
    made = JobDir.create(tmp_path / "run", os.geteuid())
    shutil.copy(HOSTILE_CHILD, made.input / "child.py")
    yield made
    delete(made.root)


@pytest.mark.parametrize(
    ("deed", "code"), [("allocate_in_children", "step_out_of_memory"), ("orphan", "conversion_failed")]
)
async def test_a_step_without_a_sandbox_still_has_limits_and_is_ended_whole(job: JobDir, deed: str, code: str) -> None:
    command = (sys.executable, "-S", str(job.input / "child.py"), deed)
    step = Step(Bare(), job, SMALL, BoundedLog(job.log, SMALL.log_bytes), command=command)
    await step.start(Framework.TIMM)
    result = await step.finish(lambda _: None)
    assert result.error is not None
    assert result.error.code == code
    await asyncio.wait_for(none_left(str(job.input / "child.py").encode()), 60)


async def test_a_step_without_a_sandbox_has_no_foreign_environment_and_no_socket(
    job: JobDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPORT_S3_SECRET_KEY", "secret")
    code = (
        "import json, os, socket\n"
        "try: socket.socket(); out = 'a socket'\n"
        "except OSError: out = sorted(k for k in os.environ if 'MODELPORT' in k)\n"
        "print(json.dumps({'type': 'error', 'code': 'conversion_failed', 'message': str(out)}), flush=True)\n"
    )
    step = Step(Bare(), job, SMALL, BoundedLog(job.log, SMALL.log_bytes), command=(sys.executable, "-S", "-c", code))
    await step.start(Framework.TIMM)
    error = (await step.finish(lambda _: None)).error
    assert error is not None
    assert json.loads(error.message) == []


async def none_left(marker: bytes) -> None:
    def alive(pid: int) -> bool:
        try:
            return marker in Path(f"/proc/{pid}/cmdline").read_bytes() and watch.is_alive(pid)
        except OSError:
            return False

    while any(alive(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()):
        await asyncio.sleep(0.02)
