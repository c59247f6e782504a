"""Takes what a finished step left in `output/`, trusting neither names nor kinds nor words of it."""

import os
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.errors import Permanent
from contracts.execution import ExportRun
from contracts.keys import GOLDENS, METADATA, MODEL_FILES, PARITY_REPORT
from contracts.model_package import ModelInfo, ModelMetadata
from export_worker.fetch import Checkpoint
from export_worker.job_dir import OUTPUT, JobDir
from export_worker.sandbox import MIB

TAKEN = "taken"
MAX_BYTES: dict[str, int] = {METADATA: 1 * MIB, PARITY_REPORT: 16 * MIB, GOLDENS: 64 * MIB}
MAX_MODEL_BYTES = 16 << 30


class Artefact(Struct, frozen=True, kw_only=True):
    """Plain files that belong to the run now, and the metadata with the facts that the run itself knows."""

    model: Path
    parity_report: Path
    goldens: Path
    metadata: ModelMetadata


def collect(job: JobDir, run: ExportRun, checkpoint: Checkpoint) -> Artefact:
    """The artefact of a step that is done and dead; raises Permanent("conversion_failed") naming what is wrong."""
    model_file = MODEL_FILES[run.request.export_format]
    taken = {name: take(job, name) for name in (model_file, METADATA, PARITY_REPORT, GOLDENS)}
    _require_json(taken[PARITY_REPORT])
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


def take(job: JobDir, name: str) -> Path:
    """Move one output out of the step's reach; raises Permanent where it is missing, too large or no plain file."""
    home = job.root / TAKEN
    home.mkdir(mode=0o700, exist_ok=True)
    limit = MAX_BYTES.get(name, MAX_MODEL_BYTES)
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


def _require_json(path: Path) -> None:
    try:
        msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(path.name, str(error)[:300]) from error


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
    if told != (asked, model.name, {}, ()):
        raise _refused(METADATA, "it does not speak of this job")
    exported = model.stat().st_size
    return msgspec.structs.replace(
        metadata,
        provenance=msgspec.structs.replace(metadata.provenance, checkpoint_sha256=checkpoint.sha256),
        sizes=msgspec.structs.replace(metadata.sizes, exported_size_bytes=exported),
    )


def _refused(name: str, reason: str) -> Permanent:
    return Permanent("conversion_failed", f"The converter left no usable {name}: {reason}.")
