"""Jaeger's JSON in a shape that is easy to draw."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from contracts.errors import Permanent, Transient
from gateway.traces import Traces, simplify

TRACE = "0af7651916cd43dd8448eb211c80319c"
JAEGER = {
    "data": [
        {
            "traceID": TRACE,
            "spans": [
                {
                    "spanID": "b",
                    "operationName": "convert",
                    "startTime": 1_700_000_000_500_000,
                    "duration": 1500,
                    "processID": "p2",
                    "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": "a"}],
                    "tags": [{"key": "error", "type": "bool", "value": True}, {"key": "stage", "value": "convert"}],
                },
                {
                    "spanID": "a",
                    "operationName": "POST /api/v1/export/jobs",
                    "startTime": 1_700_000_000_000_000,
                    "duration": 20_000,
                    "processID": "p1",
                    "references": [],
                    "tags": [{"key": "otel.status_code", "value": "OK"}],
                },
            ],
            "processes": {"p1": {"serviceName": "gateway"}, "p2": {"serviceName": "export-worker"}},
        }
    ]
}


def test_spans_come_by_start_with_parent_service_and_status() -> None:
    trace = simplify(TRACE, msgspec.json.encode(JAEGER))
    first, second = trace.spans
    assert (first.span_id, first.parent_id, first.service, first.status) == ("a", None, "gateway", "ok")
    assert (second.parent_id, second.service, second.status) == ("a", "export-worker", "error")
    assert second.duration_ms == 1.5
    assert second.attributes == {"stage": "convert"}
    assert first.start.isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.fixture
async def store(unused_tcp_port: int) -> AsyncIterator[Traces]:
    async def answer(request: web.Request) -> web.Response:
        match request.match_info["id"]:
            case "broken":
                return web.Response(status=500)
            case "junk":
                return web.json_response({"data": "what"})
            case "none":
                return web.json_response({"data": None, "errors": [{"code": 404}]}, status=404)
            case _:
                return web.json_response(JAEGER)

    app = web.Application()
    app.router.add_get("/api/traces/{id}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    traces = Traces(f"http://127.0.0.1:{unused_tcp_port}/")
    yield traces
    await traces.close()
    await runner.cleanup()


async def test_traces_are_fetched_from_the_store(store: Traces) -> None:
    assert len((await store.get(TRACE)).spans) == 2
    assert (await store.get("none")).spans == []


@pytest.mark.parametrize("trace_id", ["broken", "junk"])
async def test_a_store_that_fails_is_unavailable(store: Traces, trace_id: str) -> None:
    with pytest.raises(Transient) as caught:
        await store.get(trace_id)
    assert caught.value.code == "unavailable"


async def test_without_a_store_the_answer_says_how_to_get_one() -> None:
    with pytest.raises(Permanent) as caught:
        await Traces("").get(TRACE)
    assert "MODELPORT_TRACES_URL" in caught.value.hint
