"""Traces as the trace store keeps them (Jaeger's query API), in a shape that is easy to draw."""

from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
from msgspec import Struct, field

from contracts.errors import Permanent, Transient

TIMEOUT_S = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = {"ERROR": "error", "OK": "ok"}


class Span(Struct, frozen=True, kw_only=True):
    """One operation; `status` is unset, ok or error."""

    span_id: str
    parent_id: str | None
    name: str
    service: str
    start: datetime
    duration_ms: float
    status: str
    attributes: dict[str, object]


class Trace(Struct, frozen=True, kw_only=True):
    """The spans that are kept of one trace, by start."""

    trace_id: str
    spans: list[Span]


class _Reference(Struct):
    span_id: str = field(name="spanID")
    kind: str = field(name="refType", default="CHILD_OF")


class _Tag(Struct):
    key: str
    value: object = None


class _Span(Struct):
    span_id: str = field(name="spanID")
    name: str = field(name="operationName", default="")
    start_us: int = field(name="startTime", default=0)
    duration_us: int = field(name="duration", default=0)
    process: str = field(name="processID", default="")
    references: list[_Reference] = []
    tags: list[_Tag] = []


class _Process(Struct):
    service: str = field(name="serviceName", default="")


class _Trace(Struct):
    spans: list[_Span] = []
    processes: dict[str, _Process] = {}


class _Answer(Struct):
    data: list[_Trace] | None = None


class Traces:
    """A client of the trace store; `url` empty means that there is none."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def get(self, trace_id: str) -> Trace:
        """The spans of a trace of 32 hex digits, none where nothing is kept (yet).

        Raises Permanent("not_found") without a trace store, Transient("unavailable") where it does not answer.
        """
        if not self._url:
            raise Permanent(
                "not_found",
                "This installation keeps no traces.",
                hint="Set MODELPORT_TRACES_URL to a Jaeger query API.",
            )
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.get(f"{self._url}/api/traces/{trace_id}") as response:
                if response.status == 404:
                    return Trace(trace_id=trace_id, spans=[])
                response.raise_for_status()
                return simplify(trace_id, await response.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise Transient("unavailable", "The trace store does not answer.") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def simplify(trace_id: str, body: bytes) -> Trace:
    """Jaeger's JSON as a list of spans; raises MsgspecError for anything else."""
    answer = msgspec.json.decode(body, type=_Answer)
    spans = [_span(span, trace.processes) for trace in answer.data or [] for span in trace.spans]
    return Trace(trace_id=trace_id, spans=sorted(spans, key=lambda span: (span.start, span.span_id)))


def _span(span: _Span, processes: dict[str, _Process]) -> Span:
    tags = {tag.key: tag.value for tag in span.tags}
    status = _STATUS.get(str(tags.pop("otel.status_code", "")), "unset")
    failed = str(tags.pop("error", False)).lower() == "true"
    parents = [reference.span_id for reference in span.references if reference.kind == "CHILD_OF"]
    return Span(
        span_id=span.span_id,
        parent_id=parents[0] if parents else None,
        name=span.name,
        service=processes.get(span.process, _Process()).service,
        start=_EPOCH + timedelta(microseconds=span.start_us),
        duration_ms=span.duration_us / 1000,
        status="error" if failed else status,
        attributes=tags,
    )
