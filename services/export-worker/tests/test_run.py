"""One run as a process: its exit status, its place in the trace, and its silence once another attempt owns the job."""

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from contracts.events import ExportFailedV1, ExportProgressedV1, ModelExportedV1
from contracts.execution import ExportRun
from contracts.subjects import LEASES
from contracts.vocabulary import ExportFormat
from export_worker.run import Exit
from servicekit.leases import Lease, LeaseRecord, Leases

from .floor import FAKE_RUN, Floor

pytestmark = pytest.mark.integration
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Sink:
    """Receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[str, str]] = {}
        self.ids: dict[str, str] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        told = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if b"content-encoding: gzip" in head else body
        )
        for span in (s for r in told.resource_spans for scope in r.scope_spans for s in scope.spans):
            self.spans[span.name] = (span.trace_id.hex(), span.parent_span_id.hex())
            self.ids[span.span_id.hex()] = span.name
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def sink() -> AsyncIterator[tuple[Sink, str]]:
    made = Sink()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def attempt(floor: Floor, **changes: object) -> ExportRun:
    """A job whose lease is held, as a service would hold it."""
    request = await floor.request(**changes)
    lease = await Leases(floor.bus).take(str(request.job_id), "w")
    assert isinstance(lease, Lease)
    return ExportRun(request=request, attempt=lease.attempt, worker_id="w", traceparent=f"00-{TRACE}-{PARENT}-01")


async def start(floor: Floor, run: ExportRun, deed: str, **variables: str) -> asyncio.subprocess.Process:
    environ = {**floor.environ, **run.to_env(), **variables}
    return await asyncio.create_subprocess_exec(sys.executable, str(FAKE_RUN), deed, env=environ)


async def test_a_run_continues_the_trace_of_its_request(floor: Floor, sink: tuple[Sink, str]) -> None:
    seen, url = sink
    run = await attempt(floor)
    process = await start(floor, run, "export", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert await process.wait() == Exit.STATED
    assert isinstance(await floor.end(run.request.job_id), ModelExportedV1)
    assert {trace for trace, _ in seen.spans.values()} == {TRACE}
    assert seen.spans["export run"][1] == PARENT
    below = {name: seen.ids[parent] for name, (_, parent) in seen.spans.items() if parent != PARENT}
    assert below["fetch"] == below["step"] == below["upload"] == "export run"
    assert below["load"] == below["convert"] == below["verify"] == "step"
    meta = next(meta for event, meta in floor.facts if isinstance(event, ModelExportedV1))
    assert meta.traceparent.split("-")[1] == TRACE


async def test_an_attempt_that_was_overtaken_states_nothing(floor: Floor) -> None:
    run = await attempt(floor)
    bucket = await floor.bus.kv(LEASES)
    entry = await bucket.get(str(run.request.job_id))
    record = msgspec.json.decode(entry.value or b"", type=LeaseRecord)
    taken = msgspec.structs.replace(record, attempt=record.attempt + 1, worker="other", token="other")
    await bucket.put(str(run.request.job_id), msgspec.json.encode(taken))
    process = await start(floor, run, "export")
    assert await process.wait() == Exit.STATED
    await floor.until(lambda: bool(floor.of(ExportProgressedV1, run.request.job_id)))
    await asyncio.sleep(0.3)
    assert not floor.of(ModelExportedV1, run.request.job_id)
    assert not floor.of(ExportFailedV1, run.request.job_id)


async def test_a_run_whose_service_beats_meanwhile_is_not_overtaken(floor: Floor) -> None:
    request = await floor.request()
    lease = await Leases(floor.bus).take(str(request.job_id), "w")
    assert isinstance(lease, Lease)
    process = await start(floor, ExportRun(request=request, attempt=1, worker_id="w"), "export")
    while process.returncode is None:
        await lease.heartbeat()
        await asyncio.sleep(0.01)
    assert isinstance(await floor.end(request.job_id), ModelExportedV1)
    assert await lease.still_mine()


async def test_a_run_that_its_store_refuses_asks_to_be_tried_again(floor: Floor) -> None:
    run = await attempt(floor)
    process = await start(floor, run, "export", MODELPORT_S3_SECRET_KEY="wrong")
    assert await process.wait() == Exit.TRY_AGAIN
    assert not floor.of(ExportFailedV1, run.request.job_id)


async def test_a_run_without_a_sandbox_runs_nothing(floor: Floor, tmp_path: Path) -> None:
    run = await attempt(floor)
    process = await start(floor, run, "export", PATH=str(tmp_path))
    assert await process.wait() == Exit.TRY_AGAIN
    assert floor.facts == []


@pytest.mark.parametrize("name", ["JOB_ID", "MODELPORT_NATS_URL", "EXPORT_CONFIG"])
async def test_a_missing_variable_is_a_bad_environment(floor: Floor, name: str) -> None:
    run = await attempt(floor)
    process = await start(floor, run, "export", **{name: ""})
    assert await process.wait() == Exit.BAD_ENVIRONMENT


async def test_a_terminated_run_says_so_and_states_nothing(floor: Floor) -> None:
    run = await attempt(floor)
    process = await start(floor, run, "hang")
    await floor.until(lambda: bool(floor.of(ExportProgressedV1, run.request.job_id)))
    process.terminate()
    assert await process.wait() == Exit.ENDED
    assert not floor.of(ExportFailedV1, run.request.job_id)


async def test_a_run_whose_starter_is_gone_does_not_begin(floor: Floor) -> None:
    run = await attempt(floor, export_format=ExportFormat.ONNX)
    process = await start(floor, run, "export", MODELPORT_PARENT_PID=str(os.getpid() + 1))
    assert await process.wait() == -9
    assert floor.facts == []
