"""One checkpoint through the real step: the worker's sandbox, its limits and its own child, and what was left behind."""

import asyncio
import shutil
import time
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from contracts.errors import Permanent
from contracts.events import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker.fetch import Checkpoint
from export_worker.sandbox import outputs
from export_worker.sandbox.seen import by_steps
from export_worker.sandbox.steps import Step
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.bubblewrap import MIB, Limits, Sandbox, make, separate_uid
from servicekit.sandbox.job_dir import JobDir
from servicekit.workplace import delete

LIMITS = Limits(
    memory_bytes=1536 * MIB,
    processes=160,
    file_bytes=96 * MIB,
    disk_bytes=192 * MIB,
    log_bytes=256 << 10,
    wall_s=300.0,
    threads=1,
)
EVIDENCE_BYTES = 1 << 20


class Model(Struct, frozen=True, kw_only=True):
    """A checkpoint and how it is registered."""

    path: Path
    framework: Framework
    task: TaskType = TaskType.IMAGE_CLASSIFICATION
    name: str = "resnet10t"
    size: tuple[int, int] = (64, 64)


class Trial(Struct, frozen=True, kw_only=True):
    """How it ended: the error's code (empty where an artefact was taken), and what the code in the checkpoint left."""

    code: str
    message: str
    ran: bool
    loot: str
    evidence: bytes
    log_bytes: int
    seconds: float


class Arena:
    """Gives each trial a folder and, where this machine lets it, a user id of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bwrap = shutil.which("bwrap")
        assert self._bwrap, "bubblewrap is not installed: see deploy/system-packages.sh"
        self.uids: set[int] = set()

    def _sandbox(self) -> Sandbox:
        own = separate_uid()
        assert self._bwrap
        if own is None:
            return make(self._bwrap, by_steps(), own_uid=None)
        self.uids.add(own + len(self.uids) + 1)
        return make(self._bwrap, by_steps(), own_uid=max(self.uids))

    async def run(self, model: Model, limits: Limits = LIMITS) -> Trial:
        """To its end, with everything that lives inside."""
        sandbox = self._sandbox()
        job = JobDir.create(self._folder / uuid4().hex, sandbox.uid())
        shutil.copyfile(model.path, job.input / model.path.name)
        job.write_request(msgspec.json.encode(request(model)))
        log = BoundedLog(job.log, limits.log_bytes)
        step = Step(sandbox, job, limits, log)
        try:
            await step.start(model.framework)
            await step.ready()
            began = time.monotonic()
            outcome = await step.finish(lambda _: None)
            seconds = time.monotonic() - began
            error = outcome.error or taken(job, model)
            log.close()
            return Trial(
                code=error.code if error else "",
                message=error.message if error else "",
                ran=(job.path / "output" / "ran").exists() or (job.path / "moved" / "ran").exists(),
                loot=text(job.path / "output" / "loot") + text(job.path / "moved" / "loot"),
                evidence=await asyncio.to_thread(evidence, job.root),
                log_bytes=job.log.stat().st_size,
                seconds=seconds,
            )
        finally:
            await step.kill()
            await asyncio.to_thread(delete, job.root)

    def leftovers(self) -> list[int]:
        """Living processes of any user id that a trial had."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except OSError:
                continue
            if int(lines["Uid"].split()[0]) in self.uids and lines["State"].split()[0] not in "ZX":
                found.append(int(status.parent.name))
        return found


def request(model: Model) -> ExportRun:
    asked = ExportRequestedV1(
        job_id=UUID(int=1),
        user_id=UUID(int=2),
        training_job_id=UUID(int=3),
        version=1,
        framework=model.framework,
        task_type=model.task,
        model_name=model.name,
        checkpoint_path=f"s3://bucket/uploads/{UUID(int=2)}/{model.path.name}",
        checkpoint_max_bytes=1 << 30,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(image_size=model.size),
        timeout_s=300,
    )
    return ExportRun(request=asked, attempt=1, worker_id="arena")


def taken(job: JobDir, model: Model) -> Permanent | None:
    """What the run does with the outputs of a step that says it is done."""
    checkpoint = Checkpoint(path=model.path, sha256="0" * 64, size_bytes=model.path.stat().st_size)
    try:
        outputs.collect(job, request(model), checkpoint)
    except Permanent as refusal:
        return refusal
    return None


def text(path: Path) -> str:
    return path.read_text() if path.is_file() and not path.is_symlink() else ""


def evidence(root: Path) -> bytes:
    """The log and the small plain files that were left."""
    found = []
    folders = [folder for name in ("output", "moved", "tmp") if not (folder := root / "job" / name).is_symlink()]
    for path in (root / "log.txt", *(path for folder in folders for path in folder.glob("*"))):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= EVIDENCE_BYTES:
            found.append(path.read_bytes())
    return b"\n".join(found)
