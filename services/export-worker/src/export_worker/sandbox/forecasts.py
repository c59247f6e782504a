"""Takes what a step foresaw, from the file that it leaves behind; the step is hostile, so is every word of it."""

from collections.abc import Sequence

import msgspec
from msgspec import structs

from contracts.errors import ErrorInfo, Permanent
from contracts.export_options import ExportOptions
from contracts.precision import PRECISIONS
from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat
from export_worker.forecast.found import FILE, Foreseen
from export_worker.sandbox.messages import STEP_CODES, printable
from export_worker.sandbox.outputs import take
from servicekit.sandbox.bubblewrap import MIB
from servicekit.sandbox.job_dir import JobDir

MAX_BYTES = 1 * MIB


def collect(job: JobDir, wishes: Sequence[ExportOptions]) -> tuple[Forecast, ...]:
    """One forecast per wish; raises Permanent("conversion_failed") where the step left anything else."""
    found = _read(job)
    if [one.format for one in found.forecasts] != _formats(wishes):
        raise Permanent("conversion_failed", "The step left forecasts of other formats than it was asked about.")
    return tuple(map(_checked, found.forecasts))


def collect_begun(job: JobDir, wishes: Sequence[ExportOptions], error: ErrorInfo) -> tuple[Forecast, ...]:
    """What a step foresaw before it was ended by `error`, which is laid to the format that it was looking at and told of those behind it.

    Empty where it had not come to any format.
    """
    try:
        found = _read(job)
    except Permanent:
        return ()
    formats, known = _formats(wishes), [one.format for one in found.forecasts]
    if found.looks_at is None or formats[: len(known) + 1] != [*known, found.looks_at]:
        return ()
    reason = f"looking at {found.looks_at}: {error.message}"
    rest = (
        Forecast(
            format=name,
            supported=False,
            precisions=PRECISIONS[name],
            code=error.code,
            reason=printable(error.message if name is found.looks_at else f"not looked at; {reason}", 1000),
            hint=printable(error.hint, 1000),
        )
        for name in formats[len(known) :]
    )
    return (*map(_checked, found.forecasts), *rest)


def _formats(wishes: Sequence[ExportOptions]) -> list[ExportFormat]:
    return [ExportFormat(str(wish.__struct_config__.tag)) for wish in wishes]


def _read(job: JobDir) -> Foreseen:
    body = take(job, FILE, MAX_BYTES).read_bytes()
    try:
        return msgspec.json.decode(body, type=Foreseen)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent("conversion_failed", f"The step left no readable {FILE}: {str(error)[:300]}.") from error


def _checked(forecast: Forecast) -> Forecast:
    """Only codes that a step may know; what the format has, and whether a worker is alive, is not its to say."""
    code = forecast.code if not forecast.code or forecast.code in STEP_CODES else "conversion_failed"
    return structs.replace(
        forecast,
        code=code,
        supported=not code,
        precisions=PRECISIONS[forecast.format],
        available=True,
        waits_for="",
        expected_seconds=None,
    )
