"""Which events make spans: all but those that are told too often to be operations of a trace."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.envelope import EventMeta
from contracts.events import ExportCancelledV1, ExportProgressedV1
from contracts.vocabulary import ExportStage
from servicekit.bus import Bus
from servicekit.telemetry import Telemetry, current_trace_id
from servicekit.testing import NatsServer, eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def traced(nats_server: NatsServer, spans: InMemorySpanExporter) -> AsyncIterator[Bus]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    bus = Bus(nats_server.url, "test", Telemetry("test", provider))
    yield bus
    await bus.stop()


async def test_a_fact_makes_spans_and_progress_makes_none(traced: Bus, spans: InMemorySpanExporter) -> None:
    job_id = uuid4()
    progress = ExportProgressedV1(
        job_id=job_id, attempt=1, stage=ExportStage.CONVERT, percent=40, message="", worker_id="w"
    )
    got: list[tuple[object, str]] = []

    async def handle(event: ExportCancelledV1 | ExportProgressedV1, meta: EventMeta) -> None:
        got.append((event, meta.traceparent))

    traced.subscribe(ExportProgressedV1, handler=handle, durable="progress")
    traced.subscribe(ExportCancelledV1, handler=handle, durable="cancelled")
    await traced.start()
    with traced.telemetry.span("request"):
        trace_id = current_trace_id()
        for event in (progress, ExportCancelledV1(job_id=job_id)):
            await traced.publish(event, subject_id=job_id)
    await eventually(lambda: len(got) == 2)
    await eventually(lambda: len(spans.get_finished_spans()) == 3)
    names = {span.name for span in spans.get_finished_spans()}
    assert names == {"request", "publish ExportCancelledV1", "process cancelled"}
    assert all(trace_id in traceparent for _, traceparent in got), "progress still says which trace it is of"
