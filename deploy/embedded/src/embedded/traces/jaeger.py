"""Jaeger's JSON for one trace, as its query API `GET /api/traces/{id}` answers it."""

import msgspec

from embedded.traces.store import Span, Value

TYPES = {str: "string", bool: "bool", int: "int64", float: "float64"}


class Tag(msgspec.Struct, frozen=True):
    """A typed key and value."""

    key: str
    type: str
    value: Value


class Log(msgspec.Struct, frozen=True):
    """An event of a span; microseconds."""

    timestamp: int
    fields: list[Tag]


class Reference(msgspec.Struct, frozen=True, rename="camel"):
    """The parent of a span."""

    ref_type: str
    trace_id: str = msgspec.field(name="traceID")
    span_id: str = msgspec.field(name="spanID")


class JaegerSpan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One span; times in microseconds."""

    trace_id: str = msgspec.field(name="traceID")
    span_id: str = msgspec.field(name="spanID")
    operation_name: str
    references: list[Reference]
    start_time: int
    duration: int
    tags: list[Tag]
    logs: list[Log]
    process_id: str = msgspec.field(name="processID")


class Process(msgspec.Struct, frozen=True, rename="camel"):
    """A service that took part."""

    service_name: str
    tags: list[Tag]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """All spans of one trace id."""

    trace_id: str = msgspec.field(name="traceID")
    spans: list[JaegerSpan]
    processes: dict[str, Process]


class Problem(msgspec.Struct, frozen=True):
    """Jaeger's error entry."""

    code: int
    msg: str


class Answer(msgspec.Struct, frozen=True):
    """The envelope of every answer."""

    data: list[Trace] | None
    errors: list[Problem] | None = None


def answer(trace_id: str, spans: list[Span]) -> Answer:
    """The envelope with the trace; where there are no spans, Jaeger's 404 body."""
    if not spans:
        return Answer(None, [Problem(404, "trace not found")])
    processes: dict[str, Process] = {}
    names: dict[str, str] = {}
    for span in spans:
        if span.service not in names:
            names[span.service] = f"p{len(names) + 1}"
            processes[names[span.service]] = Process(span.service, _tags(span.resource))
    converted = [_span(span, names[span.service]) for span in spans]
    return Answer([Trace(trace_id=trace_id, spans=converted, processes=processes)])


def _span(span: Span, process: str) -> JaegerSpan:
    parents = [Reference("CHILD_OF", span.trace_id, span.parent_id)] if span.parent_id else []
    status: dict[str, Value] = {"error": True, "otel.status_description": span.status_message} if span.is_error else {}
    return JaegerSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        operation_name=span.name,
        references=parents,
        start_time=span.start_ns // 1000,
        duration=max(0, span.end_ns - span.start_ns) // 1000,
        tags=_tags({**span.attributes, "span.kind": span.kind, **status}),
        logs=[Log(event.time_ns // 1000, _tags({"event": event.name, **event.attributes})) for event in span.events],
        process_id=process,
    )


def _tags(attributes: dict[str, Value]) -> list[Tag]:
    return [Tag(key, TYPES[type(value)], value) for key, value in attributes.items()]
