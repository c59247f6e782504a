"""Spans reach a real OTLP/HTTP receiver, traces go on across headers, log lines carry the trace."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind

from servicekit import telemetry
from servicekit.telemetry import current_trace_id, extract, inject, setup


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted to /v1/traces."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.received = []
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def kept_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_spans_are_exported_with_service_attributes_and_exceptions(receiver: HTTPServer) -> None:
    made = setup("worker", {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}/"})
    with pytest.raises(ValueError), made.span("step", kind=SpanKind.CONSUMER, stage="convert"):
        raise ValueError("no such operator")
    made.shutdown()
    (request,) = receiver.received
    (resource,) = request.resource_spans
    assert any(a.key == "service.name" and a.value.string_value == "worker" for a in resource.resource.attributes)
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.attributes[0].value.string_value) == ("step", "convert")
    assert span.events[0].name == "exception"
    assert "no such operator" in span.status.message


def test_without_an_endpoint_nothing_is_exported_but_traces_still_link() -> None:
    made = setup("a", {})
    headers: dict[str, str] = {}
    inject(headers)
    assert headers == {}
    assert current_trace_id() == ""
    with made.span("outer"):
        outer = current_trace_id()
        inject(headers)
    with made.span("inner", context=extract({"TraceParent": headers["traceparent"]})):
        assert current_trace_id() == outer
    with made.span("other", context=extract({"traceparent": "rubbish"})):
        assert current_trace_id() not in ("", outer)
    made.shutdown()


def test_log_lines_are_json_with_extra_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    made = setup("gateway", {"MODELPORT_LOG_FORMAT": "json", "MODELPORT_LOG_LEVEL": "debug"})
    with made.span("request"):
        trace_id = current_trace_id()
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("gateway.api").exception("it %s", "broke", extra={"job": object})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["level"], line["service"]) == ("it broke", "error", "gateway")
    assert line["trace_id"] == trace_id
    assert "KeyError" in line["exception"]
    assert line["job"].startswith("<class")
    made.shutdown()


def test_plain_lines_and_levels(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.setup_logging("gateway", {"MODELPORT_LOG_FORMAT": "plain"})
    logging.getLogger("x").debug("hidden")
    logging.getLogger("nats.aio").info("hidden")
    logging.getLogger("x").info("shown")
    out = capsys.readouterr().err
    assert "shown" in out
    assert "hidden" not in out
