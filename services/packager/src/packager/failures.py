"""How a job that was given up is told to its owner."""

from contracts.errors import ErrorInfo
from contracts.vocabulary import ExportStage
from servicekit.jobs import Exhausted


def packaging(reason: Exhausted) -> ErrorInfo:
    """The error of a package that could not be made; what nobody foresaw is called `packaging_failed`."""
    return ErrorInfo(
        code=reason.code if reason.code != "internal" else "packaging_failed",
        message=reason.message,
        hint=reason.hint,
        stage=ExportStage.PACKAGE,
        cause=reason.cause,
        retryable=reason.retryable,
    )
