"""One cell of the zoo: a checkpoint made, looked at by the preflight's analysis, exported by the worker's child, and told as a record."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from bench.zoo_crew import Ended, Errand
from bench.zoo_models import Model
from contracts.events import ExportRequestedV1, PreflightRequestedV1
from contracts.execution import ExportRun, PreflightRun, Run
from contracts.export_options import ExportOptions, parse_export_options
from contracts.keys import MODEL_FILES
from contracts.model_package import ModelMetadata
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Proof
from export_worker.forecast.found import FILE, Foreseen
from export_worker.sandbox.messages import Done, Failed, parse

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache" / "zoo"
PYTHONS = {"core": Path(sys.executable), "litert": ROOT / ".venv-litert" / "bin" / "python"}
ASKED: dict[ExportFormat, dict[str, object]] = {ExportFormat.TENSORRT: {"flavor": "rtx"}}
"""Options other than a format's own; Core ML's own is float16."""
ONE = UUID(int=1)


class Cell(Struct, frozen=True, kw_only=True):
    """One model in one format: what was foretold, and what became of it.

    proof       empty where the export failed; then `code`, `message` and `operator` say why
    seconds     of CPU for the export, imports not counted; `looked_s` for the preflight of all formats
    max_abs     largest difference of an output from the source's, `scale` the share of the allowed one
    """

    label: str
    task: str
    format: ExportFormat
    foretold: Forecast
    proof: Proof | None = None
    route: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    operator: str = ""
    seconds: float = 0.0
    looked_s: float = 0.0
    size_bytes: int = 0
    max_abs: float = 0.0
    share: float = 0.0
    predictions: int = 0
    matched: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the forecast was."""
        return self.foretold.supported == (self.proof is not None)


class Crew:
    """A process that forks the jobs of one toolchain."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, folder: Path, make: str = "") -> Ended:
        """Wait for the end of one errand; the first one has the process started. Raises RuntimeError where it is no more."""
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(Errand(folder=str(folder), make=make)) + b"\n")
        process.stdin.flush()
        if not (line := process.stdout.readline()):
            raise RuntimeError(f"the crew has ended while it was at {folder}")
        return msgspec.json.decode(line, type=Ended)

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        return subprocess.Popen(
            [str(PYTHONS[self._name]), "-m", "bench.zoo_crew", self._name], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def crew_of(target: ExportFormat) -> str:
    """LiteRT lives in an environment of its own."""
    return "litert" if target is ExportFormat.TFLITE else "core"


def cells(model: Model, formats: Sequence[ExportFormat], crews: dict[str, Crew], root: Path) -> Iterator[Cell]:
    """Make the checkpoint, look at it, and export it to each format; raises RuntimeError where there is no checkpoint."""
    folder = root / model.label.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "checkpoint"
    source.mkdir(parents=True)
    if crews["core"].send(source, model.label).code != 0:
        raise RuntimeError(f"{model.label} cannot be made: {(source / 'log').read_text()[-2000:]}")
    checkpoint = source / (source / "lines").read_text().split()[-1]
    wishes = [parse_export_options(target, ASKED.get(target)) for target in formats]
    look = _job(
        folder / "look", checkpoint, PreflightRun(request=_preflight(model, wishes), attempt=1, worker_id="zoo")
    )
    looked = crews["core"].send(look)
    foretold = _foretold(look, formats)
    for target, wish in zip(formats, wishes, strict=True):
        job = _job(
            folder / str(target), checkpoint, ExportRun(request=_export(model, wish), attempt=1, worker_id="zoo")
        )
        ended = crews[crew_of(target)].send(job)
        yield _cell(model, job, foretold[target], ended, looked.seconds)
    shutil.rmtree(folder)


def _job(folder: Path, checkpoint: Path, run: Run) -> Path:
    for name in ("input", "output", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "input" / checkpoint.name).symlink_to(checkpoint)
    (folder / "request.json").write_bytes(msgspec.json.encode(run))
    return folder


def _preflight(model: Model, wishes: list[ExportOptions]) -> PreflightRequestedV1:
    return PreflightRequestedV1(preflight_id=ONE, wishes=wishes, **_common(model))


def _export(model: Model, options: ExportOptions) -> ExportRequestedV1:
    target = ExportFormat(str(options.__struct_config__.tag))
    return ExportRequestedV1(job_id=ONE, version=1, export_format=target, options=options, **_common(model))


def _common(model: Model) -> dict[str, Any]:
    return {
        "user_id": ONE,
        "training_job_id": ONE,
        "framework": model.framework,
        "task_type": model.task,
        "model_name": model.name,
        "checkpoint_path": "s3://zoo/x",
        "checkpoint_max_bytes": 1 << 30,
        "source_config": model.config,
    }


def _foretold(job: Path, formats: Sequence[ExportFormat]) -> dict[ExportFormat, Forecast]:
    """Of every format; where the look ended early, the rest is foretold to fail, as the service says it."""
    found: tuple[Forecast, ...] = ()
    if (path := job / "output" / FILE).is_file():
        found = msgspec.json.decode(path.read_bytes(), type=Foreseen).forecasts
    error = _last(job)
    code, reason = (
        (error.code, error.message) if isinstance(error, Failed) else ("step_crashed", "the look ended early")
    )
    rest = {target: Forecast(format=target, supported=False, code=code, reason=reason[:1000]) for target in formats}
    return {**rest, **{one.format: one for one in found}}


def _last(job: Path) -> object:
    lines = (job / "lines").read_bytes().splitlines()
    return parse(lines[-1]) if lines else None


def _cell(model: Model, job: Path, foretold: Forecast, ended: Ended, looked_s: float) -> Cell:
    cell = Cell(
        label=model.label, task=str(model.task), format=foretold.format, foretold=foretold, seconds=ended.seconds, looked_s=looked_s
    )  # fmt: skip
    last = _last(job)
    if not isinstance(last, Done):
        failed = last if isinstance(last, Failed) else Failed(code="step_crashed", message=f"ended with {ended.code}")
        return msgspec.structs.replace(
            cell, code=failed.code, message=failed.message[:600], operator=failed.operator[:200]
        )
    output = job / "output"
    metadata = msgspec.json.decode((output / "metadata.json").read_bytes(), type=ModelMetadata)
    parity = metadata.parity
    return msgspec.structs.replace(
        cell,
        proof=parity.proof,
        route=metadata.provenance.route,
        rewrites=getattr(metadata.provenance, "rewrites", ()),
        size_bytes=(output / MODEL_FILES[foretold.format]).stat().st_size,
        max_abs=max(float(one.max_abs) for one in parity.outputs),
        share=max(float(one.max_abs) / float(one.max_abs_allowed) for one in parity.outputs),
        predictions=parity.predictions_source,
        matched=parity.predictions_matched,
    )
