"""Takes what a finished step left in `output/`, trusting neither names nor kinds nor words of it."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.keys import GOLDENS, METADATA, MODEL_FILES, PACKAGED_MODELS, PARITY_REPORT
from contracts.model_package import ModelInfo, ModelMetadata
from contracts.vocabulary import ExportFormat, Proof
from export_worker.fetch import Checkpoint
from export_worker.sandbox import coreml_guard, onnx_guard, openvino_guard, tflite_guard
from export_worker.toolchains import nvidia_devices
from servicekit.sandbox.bubblewrap import MIB
from servicekit.sandbox.job_dir import OUTPUT, JobDir

TAKEN = "taken"
MAX_BYTES: dict[str, int] = {METADATA: 1 * MIB, PARITY_REPORT: 1 * MIB, GOLDENS: 64 * MIB}
MAX_GROWTH, MODEL_FLOOR = 4, 64 * MIB
"""A model may have four times the bytes of its checkpoint (packed half precision unpacked to float32), a tiny one the floor."""
MAX_INPUT_BYTES = 256 * MIB
CHECKS: dict[ExportFormat, Callable[[Path], None]] = {
    ExportFormat.ONNX: onnx_guard.check,
    ExportFormat.OPENVINO: openvino_guard.check,
    ExportFormat.COREML: coreml_guard.check,
    ExportFormat.TFLITE: tflite_guard.check,
}
"""What must hold for a file that others will load outside of any sandbox."""
STRENGTH = (Proof.FAILED, Proof.BUILT, Proof.EVALUATED, Proof.VERIFIED)
"""From the weakest word to the strongest."""


class Artefact(Struct, frozen=True, kw_only=True):
    """Plain files that belong to the run now, and the metadata with the facts that the run itself knows."""

    model: Path
    parity_report: Path
    goldens: Path
    metadata: ModelMetadata


def collect(job: JobDir, run: ExportRun, checkpoint: Checkpoint) -> Artefact:
    """The artefact of a step that is done and dead; raises Permanent("conversion_failed") naming what is wrong."""
    model_file = MODEL_FILES[run.request.export_format]
    taken = {name: take(job, name, MAX_BYTES[name]) for name in (METADATA, GOLDENS)}
    taken[PARITY_REPORT] = take_report(job)
    taken[model_file] = take(job, model_file, max(MODEL_FLOOR, MAX_GROWTH * checkpoint.size_bytes))
    if check := CHECKS.get(run.request.export_format):
        check(taken[model_file])
    try:
        metadata = msgspec.json.decode(taken[METADATA].read_bytes(), type=ModelMetadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(METADATA, str(error)[:300]) from error
    return Artefact(
        model=taken[model_file],
        parity_report=taken[PARITY_REPORT],
        goldens=taken[GOLDENS],
        metadata=_checked(metadata, run, checkpoint, taken[model_file]),
    )


def take(job: JobDir, name: str, limit: int) -> Path:
    """Move one output out of the step's reach; raises Permanent where it is missing, over `limit` bytes or no plain file."""
    home = job.root / TAKEN
    home.mkdir(mode=0o700, exist_ok=True)
    try:
        job_fd = os.open(job.path, os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            folder = os.open(OUTPUT, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=job_fd)
        finally:
            os.close(job_fd)
        try:
            _require_plain(folder, name, limit)
            os.rename(name, home / name, src_dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _refused(name, error.strerror or str(error)) from error
    return home / name


def take_report(job: JobDir) -> Path:
    """`take` of the parity report, which must be JSON; a failed run may have left one too."""
    path = take(job, PARITY_REPORT, MAX_BYTES[PARITY_REPORT])
    try:
        # looked at, not built: as objects it would weigh 30 times its text
        msgspec.json.decode(path.read_bytes().decode(), type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(path.name, str(error)[:300]) from error
    return path


def _require_plain(folder: int, name: str, limit: int) -> None:
    # a FIFO would block an open without O_NONBLOCK
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        state = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        raise _refused(name, "it is not a plain file")
    if not 0 < state.st_size <= limit:
        raise _refused(name, f"it has {state.st_size} bytes, 1 to {limit} are allowed")


def _checked(metadata: ModelMetadata, run: ExportRun, checkpoint: Checkpoint, model: Path) -> ModelMetadata:
    """Refuse metadata of another job, and state the digests and sizes that were measured here."""
    request = run.request
    asked = ModelInfo(
        framework=request.framework,
        task_type=request.task_type,
        model_name=request.model_name,
        export_format=request.export_format,
        version=request.version,
    )
    told = (metadata.model_info, metadata.model_file, metadata.runtime_wrappers, metadata.files)
    if told != (asked, PACKAGED_MODELS[request.export_format], {}, ()):
        raise _refused(METADATA, "it does not speak of this job")
    proof = metadata.parity.proof
    if STRENGTH.index(proof) > STRENGTH.index(_strongest(request)):
        raise _refused(METADATA, f"nothing on this worker can prove such a model to be {proof}")
    if proof is Proof.FAILED:
        raise _refused(METADATA, "its proof has failed")
    _require_picture(metadata)
    provenance = msgspec.structs.replace(
        metadata.provenance,
        checkpoint_sha256=checkpoint.sha256,
        export_options=msgspec.to_builtins(request.options),
        optimization=msgspec.to_builtins(request.optimization),
    )
    sizes = msgspec.structs.replace(metadata.sizes, exported_size_bytes=model.stat().st_size)
    return msgspec.structs.replace(metadata, provenance=provenance, sizes=sizes)


def _strongest(request: ExportRequestedV1) -> Proof:
    """What a step may say at most: what it runs on is known out here, whatever it says."""
    if request.export_format is ExportFormat.COREML:
        return Proof.VERIFIED if sys.platform == "darwin" else Proof.EVALUATED
    if request.export_format is ExportFormat.TENSORRT:
        return Proof.VERIFIED if nvidia_devices() else Proof.BUILT
    return Proof.VERIFIED


def _require_picture(metadata: ModelMetadata) -> None:
    """The model's input is what the preprocessing makes, and small enough for the services that all users share."""
    spec, form = metadata.input_spec, metadata.preprocessing.format
    height, width = metadata.preprocessing.resize.size
    picture = (3, height, width) if form.output_layout == "NCHW" else (height, width, 3)
    batch = spec.shape[:1]
    fits = len(spec.shape) == 4 and all(told in (-1, made) for told, made in zip(spec.shape[1:], picture, strict=True))
    if not fits or spec.dtype != form.dtype or not batch[0]:
        raise _refused(METADATA, "its input_spec is not what its preprocessing makes")
    if max(batch[0], 1) * height * width * 3 * (4 if form.dtype == "float32" else 1) > MAX_INPUT_BYTES:
        raise _refused(METADATA, f"its input_spec has more than {MAX_INPUT_BYTES // MIB} MiB")


def _refused(name: str, reason: str) -> Permanent:
    return Permanent("conversion_failed", f"The converter left no usable {name}: {reason}.")
