"""Export jobs: create, follow, read what they proved."""

import time
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import msgspec

from contracts.capabilities import ExportCapabilities
from contracts.vocabulary import ExportFormat, ExportStatus, Framework
from modelport import sse
from modelport.models import ExportJob, Page, Preflight, Trace
from modelport.paging import everything
from modelport.transport import IDEMPOTENCY_KEY, Transport

PATH = "/api/v1/export/jobs"
PREFLIGHT = "/api/v1/export/preflight"
PREFLIGHT_PATIENCE_S = 120.0
POLL_S = 0.5
TERMINAL = frozenset({ExportStatus.COMPLETED, ExportStatus.FAILED, ExportStatus.CANCELLED})
Config = dict[str, object]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What an event of the stream says of its job; fields that an event lacks are None."""

    event: str = ""
    """Name of the event: requested, progressed, exported, completed, failed, cancelled."""
    status: ExportStatus | None = None
    stage: str | None = None
    progress_percent: float | None = None
    message: str | None = None


class Exports:
    """/api/v1/export."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def capabilities(self, framework: Framework | str) -> ExportCapabilities:
        """What this framework can be exported to, and what live workers can do now."""
        query = {"framework": str(framework)}
        return self._transport.call("GET", "/api/v1/export/capabilities", ExportCapabilities, query=query)

    def preflight(
        self,
        training_job_id: UUID | str,
        export_format: ExportFormat | str | None = None,
        *,
        export_config: Config | None = None,
        optimization_config: Config | None = None,
        patience_s: float = PREFLIGHT_PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Preflight:
        """What an export would become in every format; the options are of `export_format`, the others have their defaults.

        Not `is_answered` where no worker has looked at the checkpoint within `patience_s`.
        """
        optional = {
            "export_format": None if export_format is None else str(export_format),
            "export_config": export_config,
            "optimization_config": optimization_config,
        }
        asked: Config = {"training_job_id": str(training_job_id)}
        asked |= {name: value for name, value in optional.items() if value is not None}
        ends_at = time.monotonic() + patience_s
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        found = self._transport.call("POST", PREFLIGHT, Preflight, body=asked, headers=headers)
        while not found.is_answered and time.monotonic() < ends_at:
            sleep(POLL_S)
            found = self._transport.call("GET", f"{PREFLIGHT}s/{found.preflight_id}", Preflight)
        return found

    def create(
        self,
        training_job_id: UUID | str,
        export_format: ExportFormat | str,
        *,
        export_config: Config | None = None,
        optimization_config: Config | None = None,
        validation_config: Config | None = None,
        version_tag: str | None = None,
        idempotency_key: str | None = None,
    ) -> ExportJob:
        """Ask for an export; the same `idempotency_key` with the same request is answered with the same job."""
        optional = {
            "export_config": export_config,
            "optimization_config": optimization_config,
            "validation_config": validation_config,
            "version_tag": version_tag,
        }
        body = {"training_job_id": str(training_job_id), "export_format": str(export_format)}
        asked: Config = {**body, **{name: value for name, value in optional.items() if value is not None}}
        headers = {IDEMPOTENCY_KEY: idempotency_key or str(uuid4())}
        return self._transport.call("POST", PATH, ExportJob, body=asked, headers=headers)

    def get(self, job_id: UUID | str) -> ExportJob:
        return self._transport.call("GET", f"{PATH}/{job_id}", ExportJob)

    def list(
        self, *, training_job_id: UUID | str | None = None, status: str | None = None, limit: int | None = None
    ) -> Iterator[ExportJob]:
        """Newest first; pages are fetched as they are needed."""
        filters = {"training_job_id": training_job_id, "status": status}
        query = {name: str(value) for name, value in filters.items() if value is not None}
        return everything(self._transport, PATH, Page[ExportJob], query=query, limit=limit)

    def follow(self, job_id: UUID | str, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[JobState]:
        """The states of a job as they happen, the terminal one last; survives broken connections."""
        for event in sse.follow(self._transport, f"{PATH}/{job_id}/events", _is_terminal, sleep=sleep):
            yield _state(event)

    def wait(self, job_id: UUID | str, on_state: Callable[[JobState], None] | None = None) -> ExportJob:
        """The job when it is over, however it ended."""
        for state in self.follow(job_id):
            if on_state:
                on_state(state)
        return self.get(job_id)

    def cancel(self, job_id: UUID | str) -> ExportJob:
        return self._transport.call("POST", f"{PATH}/{job_id}/cancel", ExportJob)

    def set_default(self, job_id: UUID | str) -> ExportJob:
        """Make this the default export of its training."""
        return self._transport.call("POST", f"/api/v1/export/{job_id}/set-default", ExportJob)

    def tag(self, job_id: UUID | str, version_tag: str | None) -> ExportJob:
        return self._transport.call("PATCH", f"{PATH}/{job_id}", ExportJob, body={"version_tag": version_tag})

    def report(self, job_id: UUID | str) -> Config:
        """The parity report: every output and prediction of the artefact against the source."""
        return self._transport.call("GET", f"{PATH}/{job_id}/report", dict[str, object])

    def metadata(self, job_id: UUID | str) -> Config:
        """The package's metadata.json."""
        return self._transport.call("GET", f"{PATH}/{job_id}/metadata", dict[str, object])

    def log(self, job_id: UUID | str) -> str:
        """The whole log of the run."""
        return self._transport.call("GET", f"{PATH}/{job_id}/log", bytes).decode(errors="replace")

    def trace(self, job_id: UUID | str) -> Trace:
        """What the services did for this job, and when."""
        return self._transport.call("GET", f"{PATH}/{job_id}/trace", Trace)


def _state(event: sse.ServerEvent) -> JobState:
    state = msgspec.json.decode(event.data, type=JobState)
    return msgspec.structs.replace(state, event=event.event)


def _is_terminal(event: sse.ServerEvent) -> bool:
    return event.event in TERMINAL
