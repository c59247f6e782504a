"""What a sandboxed step says on its standard output, one JSON object a line, and what of it is believed.

The step is hostile: stages, codes, numbers and lengths are checked here, and a line that does not fit is log text.
"""

import math
import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.errors import ERRORS, ErrorInfo
from contracts.vocabulary import ExportStage

MAX_LINE = 64 * 1024
STEP_STAGES = (
    ExportStage.LOAD,
    ExportStage.OPTIMISE,
    ExportStage.CONVERT,
    ExportStage.VERIFY,
    ExportStage.VALIDATE,
)
STEP_CODES = frozenset(
    {
        "checkpoint_unreadable",
        "checkpoint_framework_mismatch",
        "checkpoint_task_mismatch",
        "checkpoint_architecture_mismatch",
        "classes_mismatch",
        "conversion_failed",
        "unsupported_operator",
        "unsupported",
        "parity_failed",
        "step_out_of_memory",
        "needs_more_memory",
    }
)
"""The verdicts that only the step can know; what happens to its process is told by its parent."""

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Ready(Struct, frozen=True, tag_field="type", tag="ready"):
    """The toolchain is imported; the step waits for `go`."""


class Progress(Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    stage: ExportStage
    fraction: Fraction = 0.0
    message: str = ""


class Done(Struct, frozen=True, kw_only=True, tag_field="type", tag="done"):
    durations_s: dict[ExportStage, float] = {}


class Failed(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    code: str
    message: str
    hint: str = ""
    stage: str = ""
    operator: str = ""
    cause: str = ""


Message = Ready | Progress | Done | Failed
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Ready | Progress | Done | Failed)


def parse(line: bytes) -> Message | None:
    """The message of one line, or None where it is none."""
    try:
        message = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(message, Progress):
        return message if message.stage in STEP_STAGES else None
    if isinstance(message, Done):
        return Done(durations_s=plausible(message.durations_s))
    return message


def plausible(durations_s: dict[ExportStage, float]) -> dict[ExportStage, float]:
    """Durations of the step's own stages, in seconds, finite and not negative."""
    return {k: v for k, v in durations_s.items() if k in STEP_STAGES and math.isfinite(v) and 0 <= v < 1e6}


def verdict(message: Failed) -> ErrorInfo:
    """The error that a step tells of itself: only codes it may know, text bounded and printable, never retryable."""
    allowed = message.code in STEP_CODES
    code = message.code if allowed else "conversion_failed"
    stage = message.stage if message.stage in {str(s) for s in STEP_STAGES} else ""
    return ErrorInfo(
        code=code,
        message=printable(message.message, 1000) or ERRORS[code].title,
        hint=printable(message.hint, 500) or ERRORS[code].hint,
        stage=stage,
        operator=printable(message.operator, 300),
        cause=printable(message.cause, 2000),
    )


def printable(text: str, limit: int) -> str:
    """Without control and direction characters, shortened."""
    return _CONTROL.sub("", text)[:limit]
