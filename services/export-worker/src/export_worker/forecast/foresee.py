"""Looks at one checkpoint for every wish of a preflight, and leaves what it foresees in output/ after each, as the next may be its end."""

import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.capabilities import PROOFS
from contracts.errors import ERRORS, Permanent
from contracts.execution import PreflightRun
from contracts.export_options import ExportOptions, TensorRtOptions
from contracts.optimization import OptimizationConfig
from contracts.precision import PRECISIONS
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat, Precision, Proof
from export_worker import registry
from export_worker.forecast import memory
from export_worker.forecast.checks import CHECKS
from export_worker.forecast.found import FILE, Foreseen
from export_worker.forecast.subject import Finding, Subject, Wish
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import Progress
from export_worker.sandbox.messages import printable
from export_worker.toolchains import missing_modules

OF_FLOAT32: dict[Precision, float] = {
    Precision.FP32: 1.0,
    Precision.FP16: 0.5,
    Precision.INT8_WEIGHTS: 0.27,
    Precision.INT8_DYNAMIC: 0.27,
}
"""Bytes of an artefact for each byte of float32 weights; int8 as resnet18 and yolo11n came out in every format, 0.25 to 0.28."""


def foresee(run: PreflightRun, folder: Path, progress: Progress) -> None:
    """Write output/forecasts.json; raises Permanent where the checkpoint itself cannot be used."""
    subject = Subject(run.request, folder, progress)
    done: list[Forecast] = []
    for number, options in enumerate(run.request.wishes):
        name = ExportFormat(str(options.__struct_config__.tag))
        progress(number / len(run.request.wishes), f"Looking at {name}")
        try:
            subject.loaded(options)
        except Permanent as refusal:
            if refusal.code != "unsupported":  # which is about an option of this wish
                raise
        _write(folder, done, looks_at=name)
        is_meant = run.request.optimized in {None, name}
        optimization = run.request.optimization if is_meant else OptimizationConfig()
        done.append(_forecast(subject, options, optimization, run.memory_bytes))
    _write(folder, done)


def _write(folder: Path, done: Sequence[Forecast], looks_at: ExportFormat | None = None) -> None:
    path = folder / "output" / FILE
    draft = folder / "tmp" / FILE
    draft.write_bytes(msgspec.json.encode(Foreseen(forecasts=tuple(done), looks_at=looks_at)))
    draft.replace(path)


def _forecast(
    subject: Subject, options: ExportOptions, optimization: OptimizationConfig, memory_bytes: int
) -> Forecast:
    name = ExportFormat(str(options.__struct_config__.tag))
    try:
        wish = Wish.of(options, optimization)
        weights = memory.weight_bytes(subject.loaded(options).module)
        memory.require(name, weights, memory_bytes)
        finding = _look(subject, wish)
    except Permanent as refusal:
        return _refused(name, refusal)
    except MemoryError:
        raise
    except Exception as error:  # a converter raises whatever the operator that it stumbles over makes it raise
        traceback.print_exc()
        return _refused(name, Permanent("conversion_failed", f"{type(error).__name__}: {error_line(error)}"))
    size = finding.size_bytes or int(weights * OF_FLOAT32[wish.precision])
    return Forecast(
        format=name,
        supported=True,
        route=(registry.TORCH, *(hop.form for hop in registry.route(name))),
        proof=_proof(options),
        precision=wish.precision,
        precisions=PRECISIONS[name],
        rewrites=finding.rewrites,
        hint=_shown(finding.note, 1000),
        expected_size_bytes=size,
        expected_memory_bytes=memory.need_bytes(name, weights),
    )


def _look(subject: Subject, wish: Wish) -> Finding:
    if not registry.route(wish.format):
        raise Permanent("unsupported", f"export_format: nothing on this worker makes {wish.format} models.")
    check = CHECKS.get(wish.format)
    missing = missing_modules(check.needs) if check else ["a check"]
    if check is None or missing:
        return Finding(note=f"Not tried: the worker that looked lacks {', '.join(missing)}.")
    found: Finding = registry.resolve(check.entry)(subject, wish)
    return found


def _proof(options: ExportOptions) -> Proof:
    """TensorRT-RTX engines are built ahead of time, where nothing runs them."""
    if isinstance(options, TensorRtOptions) and options.flavor == "rtx":
        return Proof.BUILT
    return PROOFS[ExportFormat(str(options.__struct_config__.tag))]


def _refused(name: ExportFormat, error: Permanent) -> Forecast:
    return Forecast(
        format=name,
        supported=False,
        precisions=PRECISIONS[name],
        code=error.code,
        reason=_shown(error.message, 1000),
        hint=_shown(error.hint or ERRORS[error.code].hint, 1000),
        operator=_shown(str(getattr(error, "operator", "")), 256),
    )


def _shown(text: str, limit: int) -> str:
    """One line of printable text."""
    return printable(" ".join(text.split()), limit)
