"""Spans of requests: whose trace they join, and that stages cost a bounded number of spans."""

from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inference_proxy.data_plane import Stage
from inference_proxy.tracing import DETAILED_A_SECOND, JOINING, NAME, RequestTracing
from servicekit.telemetry import Telemetry

DEPLOYMENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
CALLER = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"
ID = uuid4()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> RequestTracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return RequestTracing(Telemetry("test", provider))


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_callers_trace_and_the_deployments_are_linked_and_never_joined(
    tracing: RequestTracing, spans: InMemorySpanExporter
) -> None:
    tracing.end(tracing.start(ID, CALLER, DEPLOYMENT), 200)
    [span] = spans.get_finished_spans()
    assert (span.name, span.parent) == (NAME, None)
    assert trace_of(span) not in ("a" * 32, "c" * 32)
    assert [f"{link.context.trace_id:032x}" for link in span.links] == ["c" * 32, "a" * 32]


def test_first_requests_join_the_deployments_trace_and_later_ones_link_to_it(
    tracing: RequestTracing, spans: InMemorySpanExporter
) -> None:
    for _ in range(JOINING + 2):
        tracing.end(tracing.start(ID, "", DEPLOYMENT), 200)
    finished = spans.get_finished_spans()
    assert {trace_of(span) for span in finished[:JOINING]} == {"a" * 32}
    later = finished[JOINING:]
    assert len({trace_of(span) for span in later} - {"a" * 32}) == 2
    assert all(len(span.links) == 1 for span in later)


@pytest.mark.parametrize("traceparent", ["garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_malformed_trace_of_a_caller_is_a_new_trace(
    tracing: RequestTracing, spans: InMemorySpanExporter, traceparent: str
) -> None:
    tracing.end(tracing.start(ID, traceparent, ""), 200)
    [span] = spans.get_finished_spans()
    assert span.parent is None


def test_stages_are_children_of_a_few_a_second_and_attributes_of_all(
    tracing: RequestTracing, spans: InMemorySpanExporter
) -> None:
    stages = [Stage("decode", 1_000_000, 3_000_000), Stage("triton", 3_000_000, 9_000_000)]
    for _ in range(3 * DETAILED_A_SECOND):
        tracing.end(tracing.start(ID, "", ""), 200, stages)
    finished = spans.get_finished_spans()
    requests = [span for span in finished if span.name == NAME]
    children = [span for span in finished if span.name == "decode"]
    assert len(requests) == 3 * DETAILED_A_SECOND
    assert {(span.attributes or {})["modelport.triton_ms"] for span in requests} == {6.0}
    assert DETAILED_A_SECOND <= len(children) <= 2 * DETAILED_A_SECOND
    assert children[0].parent is not None
    assert children[0].end_time == 3_000_000


def test_server_errors_mark_the_span(tracing: RequestTracing, spans: InMemorySpanExporter) -> None:
    tracing.end(tracing.start(ID, "", ""), 502)
    [span] = spans.get_finished_spans()
    assert not span.status.is_ok
