"""Traces and logs of one service: OTLP export where the standard variable asks for it, log lines with trace ids."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

AttributeValue = str | bool | int | float

EXPORT_DELAY_MS = 1000
EXPORT_TIMEOUT_S = 5

_PROPAGATOR = TraceContextTextMapPropagator()
_QUIET = ("nats", "httpx", "httpcore", "botocore", "aiobotocore", "aioboto3", "urllib3", "faststream", "asyncio")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Telemetry:
    """The tracer of one service; made by `setup`, handed on explicitly, closed by `shutdown`."""

    def __init__(self, service: str, provider: TracerProvider) -> None:
        self.service = service
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer(service)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        **attributes: AttributeValue,
    ) -> Iterator[Span]:
        """A current span, child of `context` (else of the running span); an exception is recorded and goes on."""
        with self.tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            links=links,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)[:500]))
                raise

    def shutdown(self) -> None:
        """Export what is left and stop the exporter's thread."""
        self.provider.shutdown()


def setup(service: str, environ: Mapping[str, str] = os.environ) -> Telemetry:
    """Configure logging to stderr and make the service's tracer.

    OTEL_EXPORTER_OTLP_ENDPOINT switches the export on, OTEL_SERVICE_NAME renames the service, MODELPORT_LOG_LEVEL
    (default INFO) and MODELPORT_LOG_FORMAT (json or plain; default json off a terminal) shape the log.
    """
    name = environ.get("OTEL_SERVICE_NAME") or service
    setup_logging(name, environ)
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_DELAY_MS))
    return Telemetry(name, provider)


def inject(headers: MutableMapping[str, str], context: Context | None = None) -> None:
    """Put `traceparent` of the running span, or of `context`, into `headers`; nothing without a span."""
    _PROPAGATOR.inject(headers, context=context)


def extract(headers: Mapping[str, str]) -> Context:
    """The trace context in `headers`; empty (a new trace) where there is none or it is malformed."""
    lowered = {key.lower(): value for key, value in headers.items()}
    return _PROPAGATOR.extract(lowered, context=Context())


def links_to_caller(headers: Mapping[str, str]) -> list[Link]:
    """What a public face makes of a stranger's `traceparent`: a link, never a parent.

    Whoever could choose the trace would put spans into another tenant's, and read it as that of a job of his own.
    """
    caller = trace.get_current_span(extract(headers)).get_span_context()
    return [Link(caller)] if caller.is_valid else []


def current_trace_id() -> str:
    """32 hex digits, or an empty string outside a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def setup_logging(service: str, environ: Mapping[str, str] = os.environ) -> None:
    """Replace the root logger's handlers by one on stderr."""
    level = environ.get("MODELPORT_LOG_LEVEL", "").upper() or "INFO"
    style = environ.get("MODELPORT_LOG_FORMAT", "") or ("plain" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter() if style == "plain" else _JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class _JsonFormatter(logging.Formatter):
    """One JSON object a line; keys given through `extra=` are kept."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace_id = current_trace_id()
        if trace_id:
            line["trace_id"] = trace_id
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _PlainFormatter(logging.Formatter):
    """For people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        trace_id = current_trace_id()
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        suffix = f"  [{trace_id[:8]}]" if trace_id else ""
        text = f"{clock} {record.levelname:<7} {record.name}: {record.getMessage()}{suffix}"
        return text + "\n" + self.formatException(record.exc_info) if record.exc_info else text
