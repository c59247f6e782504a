"""OTLP's protobuf request into spans (opentelemetry-proto, trace/v1)."""

from collections.abc import Iterable, Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from embedded.traces.store import Span, SpanEvent, Value

SERVICE_NAME = "service.name"
KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """Flatten resource, scope and span; arrays and maps in attributes become their text."""
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _span(span, resource)


def _span(span: trace_pb2.Span, resource: dict[str, Value]) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=KINDS[span.kind] if span.kind < len(KINDS) else KINDS[0],
        service=str(resource.get(SERVICE_NAME, "unknown")),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        events=tuple(SpanEvent(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        status_message=span.status.message,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    plain = getattr(value, kind)
    return plain if isinstance(plain, str | int | float | bool) else str(plain)
