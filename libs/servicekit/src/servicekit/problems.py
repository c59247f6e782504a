"""Problem details (RFC 9457): the body of every error that a service answers."""

import msgspec

from contracts.errors import FieldError, ModelportError

PROBLEM_JSON = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    hint: str = ""
    errors: tuple[FieldError, ...] = ()
    trace_id: str = ""


def describe(error: ModelportError, *, instance: str, trace_id: str = "") -> Problem:
    """What is told of an error; `instance` is the path of the request."""
    return Problem(
        type=f"urn:modelport:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.message,
        instance=instance,
        code=error.code,
        hint=error.hint,
        errors=error.fields,
        trace_id=trace_id,
    )
