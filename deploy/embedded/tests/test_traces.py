import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from embedded.traces.app import build_app
from embedded.traces.otlp import spans_of
from embedded.traces.store import SpanStore

Sink = TestClient[web.Request, web.Application]
TRACE, ROOT, CHILD = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))
START = 1_800_000_000_000_000_000


def a_trace() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for service, span_id, parent in (("gateway", ROOT, b""), ("export-worker", CHILD, ROOT)):
        resource = request.resource_spans.add()
        attribute = resource.resource.attributes.add(key="service.name")
        attribute.value.string_value = service
        span = resource.scope_spans.add().spans.add(trace_id=TRACE, span_id=span_id, parent_span_id=parent, kind=2)
        span.name = f"work of {service}"
        span.start_time_unix_nano, span.end_time_unix_nano = START, START + 5_000_000
        span.attributes.add(key="size").value.int_value = 7
        if service == "export-worker":
            span.status.code = Status.STATUS_CODE_ERROR
            span.events.add(name="exception", time_unix_nano=START + 1000)
    return request


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    store = SpanStore(tmp_path / "traces.sqlite")
    async with TestClient(TestServer(build_app(store))) as client:
        yield client
    store.close()


@pytest.mark.parametrize("packed", [False, True])
async def test_otlp_comes_back_as_jaeger_json(sink: Sink, packed: bool) -> None:
    body = a_trace().SerializeToString()
    headers = {"content-type": "application/x-protobuf"} | ({"content-encoding": "gzip"} if packed else {})
    sent = await sink.post("/v1/traces", data=gzip.compress(body) if packed else body, headers=headers)
    assert sent.status == 200
    answer = await sink.get(f"/api/traces/{TRACE.hex()}")
    [trace] = (await answer.json())["data"]
    root, child = sorted(trace["spans"], key=lambda span: len(span["references"]))
    assert trace["traceID"] == TRACE.hex()
    assert child["references"] == [{"refType": "CHILD_OF", "traceID": TRACE.hex(), "spanID": ROOT.hex()}]
    assert (root["startTime"], root["duration"]) == (START // 1000, 5000)
    assert {"key": "size", "type": "int64", "value": 7} in root["tags"]
    assert {"key": "error", "type": "bool", "value": True} in child["tags"]
    assert trace["processes"][child["processID"]]["serviceName"] == "export-worker"
    assert child["logs"][0]["fields"][0]["value"] == "exception"


async def test_a_span_sent_twice_is_kept_once(sink: Sink) -> None:
    for _ in range(2):
        await sink.post("/v1/traces", data=a_trace().SerializeToString())
    [trace] = (await (await sink.get(f"/api/traces/{TRACE.hex()}")).json())["data"]
    assert len(trace["spans"]) == 2


async def test_an_unknown_trace_is_jaegers_404(sink: Sink) -> None:
    answer = await sink.get(f"/api/traces/{'f' * 32}")
    assert answer.status == 404
    assert (await answer.json())["errors"] == [{"code": 404, "msg": "trace not found"}]


@pytest.mark.parametrize(("body", "headers"), [(b"\xff\xff", {}), (b"plain", {"content-encoding": "gzip"})])
async def test_what_is_not_otlp_is_refused(sink: Sink, body: bytes, headers: dict[str, str]) -> None:
    assert (await sink.post("/v1/traces", data=body, headers=headers)).status == 400


def test_spans_survive_a_restart(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "traces.sqlite")
    store.put(spans_of(a_trace()))
    store.close()
    again = SpanStore(tmp_path / "traces.sqlite")
    assert {span.service for span in again.trace(TRACE.hex())} == {"gateway", "export-worker"}
    again.close()
