"""Names the error of a step that did not succeed: from the limit it broke, its own words, or the way its process ended."""

import signal

from contracts.errors import ERRORS, ErrorInfo
from export_worker.sandbox.messages import Failed, verdict
from servicekit.sandbox.bubblewrap import MIB, Limits
from servicekit.sandbox.command import signal_of
from servicekit.sandbox.contained import Broken

NO_MEMORY = ("MemoryError", "can't allocate memory", "std::bad_alloc", "Cannot allocate memory")


def explain(limits: Limits, *, broken: Broken | None, told: Failed | None, exit_code: int | None) -> ErrorInfo:
    """The error, its stage empty unless the step itself told it.

    A limit that we enforced counts before everything the step says; its own words count before its exit status.
    """
    signum = signal_of(exit_code)
    broken = broken or (_LIMIT_SIGNALS.get(signum) if signum and told is None else None)
    if broken is not None:
        return _over(broken, limits)
    if told is not None:
        error = verdict(told)
        is_memory = any(word in error.cause for word in NO_MEMORY)
        return _over(Broken.MEMORY, limits, error.cause) if is_memory else error
    how = f"was ended by {signum.name}" if signum else f"ended with status {exit_code} and without a result"
    return _error("step_crashed", f"The converter's process {how}.", cause=signum.name if signum else "")


_LIMIT_SIGNALS = {
    signal.SIGKILL: Broken.MEMORY,  # nobody else kills in there but the kernel that runs out of memory
    signal.SIGXCPU: Broken.TIME,
    signal.SIGXFSZ: Broken.DISK,
}


def _over(broken: Broken, limits: Limits, cause: str = "") -> ErrorInfo:
    room = f"{limits.disk_bytes // MIB} MiB, {limits.file_bytes // MIB} MiB in one file"
    code, message = {
        Broken.MEMORY: ("step_out_of_memory", f"The converter needed more than {limits.memory_bytes // MIB} MiB."),
        Broken.DISK: ("step_disk_full", f"The converter wrote more than it may: {room}."),
        Broken.TIME: ("step_timeout", f"The converter did not finish within {limits.wall_s:.0f} s."),
        Broken.PROCESSES: ("step_crashed", f"The converter started more than {limits.processes} processes."),
    }[broken]
    return _error(code, message, cause or f"{broken} limit")


def _error(code: str, message: str, cause: str) -> ErrorInfo:
    return ErrorInfo(code=code, message=message, hint=ERRORS[code].hint, cause=cause)
