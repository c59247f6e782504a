"""Every error that a user can meet: a stable code, an HTTP status, a sentence and a hint.

`Permanent` and `Transient` decide what a message consumer does: a permanent error goes to the dead letters with its reason,
a transient one is tried again.
"""

import errno
from typing import NamedTuple

from msgspec import Struct


class Kind(NamedTuple):
    """What stays the same for every error of one code."""

    status: int
    title: str
    hint: str


ERRORS: dict[str, Kind] = {
    # requests
    "invalid_request": Kind(
        400, "Invalid request", "Correct the fields listed under `errors` and send the request again."
    ),
    "unauthenticated": Kind(401, "Not authenticated", "Send `Authorization: Bearer <token>` with a valid token."),
    "invalid_api_key": Kind(
        401, "Invalid API key", "Send `Authorization: Bearer pk_…` with the key shown when the deployment was created."
    ),
    "forbidden": Kind(403, "Not allowed", "Use a token whose scopes cover this action."),
    "not_found": Kind(404, "Not found", "Check the id; only what belongs to your user is visible."),
    "method_not_allowed": Kind(405, "Method not allowed", "See the OpenAPI page for the methods of this path."),
    "request_timeout": Kind(408, "The request did not arrive in time", "Send the whole request without pauses."),
    "conflict": Kind(409, "Conflict with the current state", "Read the resource again and act on its present state."),
    "idempotency_in_flight": Kind(
        409, "The first request with this key is still running", "Wait a moment and repeat the request."
    ),
    "idempotency_mismatch": Kind(422, "Idempotency-Key was used with another body", "Use a new key for a new request."),
    "payload_too_large": Kind(413, "Request is too large", "Send a smaller body."),
    "unsupported_media_type": Kind(
        415,
        "Unsupported media type",
        "Send application/json, image/jpeg, image/png, image/webp, image/bmp or multipart/form-data.",
    ),
    "unsupported": Kind(422, "Not supported", "GET /api/v1/export/capabilities lists what is supported."),
    "headers_too_large": Kind(431, "The headers are too large", "Send fewer and shorter headers."),
    "export_limit_reached": Kind(
        429, "Export limit of your tier reached", "Wait for a running export to finish or move to a higher tier."
    ),
    "deployment_limit_reached": Kind(
        429, "Endpoint limit of your tier reached", "Deactivate an endpoint or move to a higher tier."
    ),
    "rate_limited": Kind(429, "Too many requests this minute", "Wait for the seconds given in Retry-After."),
    "too_many_streams": Kind(
        429, "Too many streams of events", "Close one of the streams, or follow fewer jobs at a time."
    ),
    "quota_exceeded": Kind(429, "Monthly quota is used up", "Wait for the next month or move to a higher tier."),
    "internal": Kind(500, "Internal error", "Try again; if it stays, report the trace id."),
    "unavailable": Kind(503, "Temporarily unavailable", "Try again in a few seconds."),
    "storage_full": Kind(
        503, "No space left", "The operator must make room on the disk; what waits goes on by itself then."
    ),
    "upstream_failed": Kind(
        502, "The inference server failed", "Try again; if it stays, look at the deployment's history."
    ),
    "timeout": Kind(504, "The inference server took too long", "Try again with a smaller picture or later."),
    # uploads, checkpoints and pictures
    "invalid_uri": Kind(
        400, "Not an object of this platform", "Upload through POST /api/v1/uploads and use the `uri` that it answers."
    ),
    "object_missing": Kind(
        422,
        "The object does not exist",
        "Upload the file first; the URI must be the one answered by POST /api/v1/uploads.",
    ),
    "checkpoint_too_large": Kind(
        422, "Checkpoint is too large", "Export a smaller checkpoint or ask for a higher limit."
    ),
    "checkpoint_unreadable": Kind(
        422, "Checkpoint cannot be read", "Upload the file again: it is truncated, damaged or not a checkpoint."
    ),
    "checkpoint_framework_mismatch": Kind(
        422, "Checkpoint is of another framework", "Register it with the framework that wrote it."
    ),
    "checkpoint_task_mismatch": Kind(
        422, "Checkpoint is of another task", "Register it with the task_type that it was trained for."
    ),
    "checkpoint_architecture_mismatch": Kind(
        422, "Weights do not fit the named architecture", "Set model_name to the architecture that was trained."
    ),
    "classes_mismatch": Kind(422, "Class names do not fit the model", "Give one name for each of the model's classes."),
    "image_unreadable": Kind(400, "Picture cannot be decoded", "Send a whole JPEG, PNG, WebP or BMP file."),
    "image_too_large": Kind(413, "Picture has too many bytes or pixels", "Scale the picture down before sending it."),
    "answer_too_large": Kind(
        422, "The answer would be too large", "Send a smaller picture, or ask for a higher confidence_threshold."
    ),
    # runs
    "conversion_failed": Kind(
        422, "Conversion failed", "Read the log; the operator or option named there is not supported by the target."
    ),
    "unsupported_operator": Kind(422, "The target has no such operator", "Choose another format or opset_version."),
    "parity_failed": Kind(
        422,
        "The artefact does not reproduce the source model",
        "Read the report: it names the first tensor that differs.",
    ),
    "step_crashed": Kind(
        422, "The converter crashed", "Read the log; the checkpoint or the option makes the converter crash."
    ),
    "step_out_of_memory": Kind(
        422, "The converter ran out of memory", "Use a smaller model or input size, or a worker with more memory."
    ),
    "needs_more_memory": Kind(
        422,
        "The conversion would not fit into the worker's memory",
        "Use a smaller model or input size, or a worker with more memory (MODELPORT_STEP_MEMORY_MIB).",
    ),
    "step_disk_full": Kind(
        422, "The converter filled its disk", "Use a smaller model, or a worker with more room for a step."
    ),
    "step_timeout": Kind(422, "The converter took too long", "Use a smaller model or ask for a longer limit."),
    "checkpoint_needs_sandbox": Kind(
        422,
        "This worker has no sandbox for files that run code",
        "Upload the weights as safetensors, or have an operator install bubblewrap on the worker's machine.",
    ),
    "sandbox_unavailable": Kind(503, "No sandbox on this worker", "Install bubblewrap on the worker's machine."),
    "worker_lost": Kind(
        503, "The worker died several times on this job", "Try again; if it stays, the checkpoint is likely the cause."
    ),
    "deadline_exceeded": Kind(
        504, "The job did not finish in time", "Try again; check that a worker for this format is running."
    ),
    "lease_lost": Kind(409, "Another worker took over", "Nothing to do: the other attempt goes on."),
    "packaging_failed": Kind(500, "Packaging failed", "Try again; if it stays, report the trace id."),
    "wrapper_disagrees": Kind(
        422,
        "The package does not reproduce its golden vectors",
        "Nothing was delivered. The message names the first check that fails and what probably causes it; export the model again.",
    ),
    "deployment_failed": Kind(
        422, "The model could not be served", "Read the deployment's history for the server's reason."
    ),
    # platform
    "invalid_settings": Kind(500, "Invalid configuration", "Correct the environment variables named in the message."),
    "undecodable_event": Kind(422, "Event cannot be decoded", "Compare the body with docs/asyncapi.json."),
}


class FieldError(Struct, frozen=True):
    """One field of a request that is wrong; `field` is a path such as `export_config.opset_version`."""

    field: str
    message: str


class ModelportError(Exception):
    """Base of all errors with a code of ERRORS; `str()` is the sentence that the user reads."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        fields: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        kind = ERRORS[code]
        self.code = code
        self.message = message
        self.status = kind.status
        self.title = kind.title
        self.hint = hint or kind.hint
        self.fields = fields
        self.headers = headers or {}


class Permanent(ModelportError):
    """Trying again cannot help."""


class Transient(ModelportError):
    """Trying again later may help."""


class ErrorInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as events, the API and reports carry it."""

    code: str
    message: str
    hint: str = ""
    stage: str = ""
    operator: str = ""
    """The layer, tensor or operator at fault, where the toolchain names one."""
    cause: str = ""
    """The original error, shortened."""
    retryable: bool = False

    @classmethod
    def of(cls, error: ModelportError, *, stage: str = "", operator: str = "", cause: str = "") -> "ErrorInfo":
        """The record of an error that was raised."""
        return cls(
            code=error.code,
            message=error.message,
            hint=error.hint,
            stage=stage,
            operator=operator,
            cause=cause[:2000],
            retryable=isinstance(error, Transient),
        )


def is_full(error: BaseException) -> bool:
    """Whether a file system had no space left, or no more of its quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
