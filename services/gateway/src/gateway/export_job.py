"""The life of an export job: a pure fold of facts over one table of transitions; no I/O."""

from collections.abc import Callable, Mapping
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from contracts.errors import ErrorInfo, Permanent
from contracts.events import (
    ExportCancelledV1,
    ExportFailedV1,
    ExportProgressedV1,
    ModelExportedV1,
    PackageBuiltV1,
)
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportStage, ExportStatus, Proof

Fact = ExportProgressedV1 | ModelExportedV1 | PackageBuiltV1 | ExportFailedV1 | ExportCancelledV1

PENDING, RUNNING = ExportStatus.PENDING, ExportStatus.RUNNING
COMPLETED, FAILED, CANCELLED = ExportStatus.COMPLETED, ExportStatus.FAILED, ExportStatus.CANCELLED

OPEN = (PENDING, RUNNING)
TERMINAL = (COMPLETED, FAILED, CANCELLED)
STAGES = tuple(ExportStage)
PACKAGING_PERCENT = 90.0

TRANSITIONS: Mapping[tuple[ExportStatus, type[Fact]], ExportStatus] = {
    (PENDING, ExportProgressedV1): RUNNING,
    (PENDING, ModelExportedV1): RUNNING,
    (PENDING, PackageBuiltV1): COMPLETED,
    (PENDING, ExportFailedV1): FAILED,
    (PENDING, ExportCancelledV1): CANCELLED,
    (RUNNING, ExportProgressedV1): RUNNING,
    (RUNNING, ModelExportedV1): RUNNING,
    (RUNNING, PackageBuiltV1): COMPLETED,
    (RUNNING, ExportFailedV1): FAILED,
    (RUNNING, ExportCancelledV1): CANCELLED,
}


class JobState(Struct, frozen=True, kw_only=True):
    """What facts say of a job; `attempt` is the fencing token of the newest attempt heard of."""

    status: ExportStatus = PENDING
    stage: ExportStage | None = None
    progress_percent: float = 0.0
    attempt: int = 0
    message: str = ""
    worker_id: str = ""
    proof: Proof | None = None
    model: ObjectRef | None = None
    package: ObjectRef | None = None
    parity_report: ObjectRef | None = None
    log: ObjectRef | None = None
    metadata: ModelMetadata | None = None
    error: ErrorInfo | None = None

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


def apply(job: JobState, fact: Fact) -> JobState:
    """The job after a fact; the very same object where the fact changes nothing.

    Ignored are facts for a job that is over, a worker's facts of an older attempt, and progress that lies behind what is
    known. A newer attempt starts from nothing: what its predecessor reached does not count. The packager's word counts for
    any attempt, because it takes one attempt a job: the tree holds what it has stated, whatever workers went on to do.
    """
    status = TRANSITIONS.get((job.status, type(fact)))
    attempt = getattr(fact, "attempt", job.attempt)
    if status is None or (attempt < job.attempt and not _ends_packaging(fact)):
        return job
    known = job if attempt == job.attempt else JobState(status=job.status, attempt=attempt)
    folded = _FOLDS[type(fact)](known, fact)
    after = replace(folded, status=status)
    return job if after == job else after


def is_current(job: JobState, fact: Fact) -> bool:
    """Whether the fact comes from the attempt that the job is in, or from a newer one."""
    return not job.is_terminal and getattr(fact, "attempt", job.attempt) >= job.attempt


def expire(job: JobState, error: ErrorInfo) -> JobState:
    """The job after its time has run out; the very same object where it was over already."""
    return job if job.is_terminal else replace(job, status=FAILED, error=error, message=error.message)


def reopen(job: JobState) -> JobState:
    """A failed job as if it had just been asked for, its attempts counted on; Permanent("conflict") where there is nothing to try again.

    What ran out of time stays over: its workers were told that it is cancelled, and remember it.
    """
    if job.status is not FAILED:
        raise Permanent("conflict", f"The export is {job.status}; only a failed one can be requested again.")
    if job.error is not None and job.error.code == "deadline_exceeded":
        raise Permanent("conflict", "The export ran out of time and was given up; create a new one.")
    return JobState(attempt=job.attempt, message="requested again")


def _ends_packaging(fact: Fact) -> bool:
    match fact:
        case PackageBuiltV1():
            return True
        case ExportFailedV1():
            return fact.error.stage == ExportStage.PACKAGE
        case _:
            return False


def _on_progressed(job: JobState, fact: Fact) -> JobState:
    fact = cast(ExportProgressedV1, fact)
    if (_rank(fact.stage), fact.percent) < (_rank(job.stage), job.progress_percent):
        return job
    percent = max(fact.percent, job.progress_percent)
    return replace(job, stage=fact.stage, progress_percent=percent, message=fact.message, worker_id=fact.worker_id)


def _on_exported(job: JobState, fact: Fact) -> JobState:
    fact = cast(ModelExportedV1, fact)
    return replace(
        job,
        stage=ExportStage.PACKAGE,
        progress_percent=max(PACKAGING_PERCENT, job.progress_percent),
        message="building the package",
        proof=fact.proof,
        model=fact.model,
        parity_report=fact.parity_report,
        log=fact.log,
        metadata=fact.metadata,
    )


def _on_built(job: JobState, fact: Fact) -> JobState:
    fact = cast(PackageBuiltV1, fact)
    return replace(
        job,
        stage=ExportStage.PACKAGE,
        progress_percent=100.0,
        message="completed",
        proof=fact.proof,
        model=fact.model,
        package=fact.package,
        parity_report=fact.parity_report,
        metadata=fact.metadata,
    )


def _on_failed(job: JobState, fact: Fact) -> JobState:
    fact = cast(ExportFailedV1, fact)
    return replace(
        job,
        proof=Proof.FAILED,
        message=fact.error.message,
        error=fact.error,
        log=fact.log or job.log,
        parity_report=fact.parity_report or job.parity_report,
    )


def _on_cancelled(job: JobState, _: Fact) -> JobState:
    return replace(job, message="cancelled")


_FOLDS: Mapping[type[Fact], Callable[[JobState, Fact], JobState]] = {
    ExportProgressedV1: _on_progressed,
    ModelExportedV1: _on_exported,
    PackageBuiltV1: _on_built,
    ExportFailedV1: _on_failed,
    ExportCancelledV1: _on_cancelled,
}


def _rank(stage: ExportStage | None) -> int:
    return -1 if stage is None else STAGES.index(stage)
