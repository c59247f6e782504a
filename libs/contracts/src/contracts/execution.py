"""The environment contract of one run: every tier starts `python -m export_worker.run` with these variables.

The names are the design's. A run has credentials for the bucket and the bus; the sandboxed step inside it has none.
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec import Struct

from contracts import subjects
from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1, PreflightRequestedV1


class ExportRun(Struct, frozen=True, kw_only=True, tag_field="kind", tag="export"):
    """One attempt at one job; `memory_bytes` is what its step may use as its parent tells it, 0 where nobody has."""

    request: ExportRequestedV1
    attempt: int
    worker_id: str
    traceparent: str = ""
    memory_bytes: int = 0

    @property
    def id(self) -> str:
        """Names the process or the Kubernetes Job; the same attempt always gets the same name."""
        return f"export-{self.request.job_id}-{self.attempt}"

    @property
    def subject_id(self) -> UUID:
        """What the run's facts are about."""
        return self.request.job_id

    @property
    def lease(self) -> str:
        """Key of whoever may state them."""
        return subjects.export_lease(self.request.job_id)

    def to_env(self) -> dict[str, str]:
        """The variables of this run, without credentials."""
        request = self.request
        return {
            "JOB_ID": str(request.job_id),
            "USER_ID": str(request.user_id),
            "TRAINING_JOB_ID": str(request.training_job_id),
            "VERSION": str(request.version),
            "ATTEMPT": str(self.attempt),
            "WORKER_ID": self.worker_id,
            "FRAMEWORK": str(request.framework),
            "TASK_TYPE": str(request.task_type),
            "MODEL_NAME": request.model_name,
            "CHECKPOINT_PATH": request.checkpoint_path,
            "CHECKPOINT_MAX_BYTES": str(request.checkpoint_max_bytes),
            "CLASSES": _json(request.classes),
            "SOURCE_CONFIG": _json(request.source_config),
            "EXPORT_FORMAT": str(request.export_format),
            "EXPORT_CONFIG": _json(request.options),
            "OPTIMIZATION_CONFIG": _json(request.optimization),
            "VALIDATION_CONFIG": _json(request.validation),
            "TIMEOUT_S": str(request.timeout_s),
            "TRACEPARENT": self.traceparent,
        }

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "ExportRun":
        """The run that `to_env` wrote; raises Permanent("invalid_settings") naming what is missing or wrong."""
        decode = msgspec.json.decode
        try:
            fields = {
                "job_id": environ["JOB_ID"],
                "user_id": environ["USER_ID"],
                "training_job_id": environ["TRAINING_JOB_ID"],
                "version": int(environ["VERSION"]),
                "framework": environ["FRAMEWORK"],
                "task_type": environ["TASK_TYPE"],
                "model_name": environ["MODEL_NAME"],
                "checkpoint_path": environ["CHECKPOINT_PATH"],
                "checkpoint_max_bytes": int(environ["CHECKPOINT_MAX_BYTES"]),
                "classes": decode(environ.get("CLASSES", "null")),
                "source_config": decode(environ.get("SOURCE_CONFIG", "{}")),
                "export_format": environ["EXPORT_FORMAT"],
                "options": decode(environ["EXPORT_CONFIG"]),
                "optimization": decode(environ.get("OPTIMIZATION_CONFIG", "{}")),
                "validation": decode(environ.get("VALIDATION_CONFIG", "{}")),
                "timeout_s": int(environ.get("TIMEOUT_S", "1800")),
            }
            request = msgspec.convert({"type": ExportRequestedV1.__struct_config__.tag, **fields}, ExportRequestedV1)
            return cls(
                request=request,
                attempt=int(environ["ATTEMPT"]),
                worker_id=environ.get("WORKER_ID", ""),
                traceparent=environ.get("TRACEPARENT", ""),
            )
        except KeyError as error:
            raise Permanent("invalid_settings", f"{error.args[0]} is not set") from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise Permanent("invalid_settings", f"the run's environment cannot be read: {error}") from error


class PreflightRun(Struct, frozen=True, kw_only=True, tag_field="kind", tag="preflight"):
    """One attempt at one preflight; `keep_as` is the key that a certain answer is kept under for the next time, empty where nowhere."""

    request: PreflightRequestedV1
    attempt: int
    worker_id: str
    traceparent: str = ""
    keep_as: str = ""
    memory_bytes: int = 0

    @property
    def id(self) -> str:
        """Names the process; the same attempt always gets the same name."""
        return f"preflight-{self.request.preflight_id}-{self.attempt}"

    @property
    def subject_id(self) -> UUID:
        """What the run's fact is about."""
        return self.request.preflight_id

    @property
    def lease(self) -> str:
        """Key of whoever may state it."""
        return subjects.preflight_lease(self.request.preflight_id)

    def to_env(self) -> dict[str, str]:
        """The variables of this run, without credentials."""
        return {PREFLIGHT: _json(self)}


PREFLIGHT = "PREFLIGHT"
Run = ExportRun | PreflightRun


def run_from_env(environ: Mapping[str, str]) -> Run:
    """The run that `to_env` of either kind wrote; raises Permanent("invalid_settings") naming what is missing or wrong."""
    if PREFLIGHT not in environ:
        return ExportRun.from_env(environ)
    try:
        return msgspec.json.decode(environ[PREFLIGHT], type=PreflightRun)
    except msgspec.MsgspecError as error:
        raise Permanent("invalid_settings", f"{PREFLIGHT} cannot be read: {error}") from error


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
