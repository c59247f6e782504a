"""What can go wrong for a caller of the SDK, each with one sentence and a hint."""

import msgspec
from msgspec import Struct

from contracts.errors import ERRORS, FieldError


class ClientError(Exception):
    """Base of all errors of this package; `str()` is the sentence, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnreachableError(ClientError):
    """No server answered at this address."""


class TransferError(ClientError):
    """A file could not be uploaded or downloaded whole; nothing half-written is left behind."""


class ApiError(ClientError):
    """The server said no: `code` is stable, `fields` names what is wrong in a request."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        fields: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint or (ERRORS[code].hint if code in ERRORS else ""))
        self.code = code
        self.status = status
        self.fields = fields
        self.retry_after = retry_after


class Problem(Struct, frozen=True, kw_only=True):
    """RFC 9457 problem details as every service of the platform writes them."""

    code: str = ""
    title: str = ""
    detail: str = ""
    hint: str = ""
    errors: tuple[FieldError, ...] = ()


def api_error(status: int, body: bytes, retry_after: float | None = None) -> ApiError:
    """The error that an answer of status 400 or above means; any body is understood, also one from a proxy in between."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(detail=body[:200].decode(errors="replace").strip())
    message = problem.detail or problem.title or f"the server answered {status}"
    return ApiError(
        problem.code or f"http_{status}",
        message,
        hint=problem.hint,
        status=status,
        fields=problem.errors,
        retry_after=retry_after,
    )
