"""Problem details, health routes, spans and a clean stop, through a real uvicorn."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import FromPath, JSONBody, Parameter
from litestar.response import ServerSentEvent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from contracts.errors import FieldError, ModelportError
from servicekit.http import exception_handlers, health_routes, make_server, tracing
from servicekit.servers import free_ports
from servicekit.telemetry import Telemetry
from servicekit.testing import eventually


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    opset: Annotated[int, msgspec.Meta(ge=9)] = 17


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    options: Options = Options()


@post("/things")
async def create(data: JSONBody[Body]) -> Body:
    return data


@get("/things/{number:int}")
async def read(number: FromPath[int], limit: Annotated[int, Parameter(ge=1)] = 1) -> dict[str, int]:
    return {"number": number, "limit": limit}


@get("/ours")
async def ours() -> None:
    raise ModelportError(
        "rate_limited", "10 a minute are allowed", headers={"Retry-After": "7"}, fields=(FieldError("key", "used up"),)
    )


@get("/unknown")
async def unknown() -> None:
    raise RuntimeError("password=hunter2")


@get("/stranger")
async def stranger() -> None:
    raise NotAuthorizedException("no token")


@get("/stream")
async def stream() -> ServerSentEvent:
    async def events() -> AsyncIterator[str]:
        for number in range(5):
            yield str(number)

    return ServerSentEvent(events())


async def good() -> None:
    pass


async def bad() -> bool:
    return False


class Site:
    """A running app, its address and the spans it made."""

    def __init__(self, url: str, spans: InMemorySpanExporter) -> None:
        self.http = httpx.AsyncClient(base_url=url)
        self.spans = spans


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = Litestar(
        [create, read, ours, unknown, stranger, stream, *health_routes({"bus": good, "store": bad})],
        exception_handlers=exception_handlers(),
        middleware=[tracing(Telemetry("test", provider))],
        request_max_body_size=1000,
        logging_config=None,
    )
    (port,) = free_ports(1)
    server = make_server(app, "127.0.0.1", port)
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    made = Site(f"http://127.0.0.1:{port}", spans)
    yield made
    await made.http.aclose()
    server.should_exit = True
    await task


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:modelport:problem:{code}")
    assert body["title"]
    assert body["hint"]
    return body


async def test_good_requests_pass(site: Site) -> None:
    assert (await site.http.post("/things", json={"name": "x"})).json() == {"name": "x", "options": {"opset": 17}}
    assert (await site.http.get("/things/3?limit=2")).json() == {"number": 3, "limit": 2}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"name": 1}', "name"),
        (b'{"name": "x", "options": {"opset": "high"}}', "options.opset"),
        (b'{"name": "x", "options": {"opset": 3}}', "options.opset"),
        (b'{"name": "x", "options": {"opsett": 3}}', "options.opsett"),
        (b'{"label": "x"}', "label"),
        (b"{}", "name"),
    ],
)
async def test_a_wrong_body_names_the_field(site: Site, body: bytes, field: str) -> None:
    answer = await site.http.post("/things", content=body, headers={"content-type": "application/json"})
    told = problem(answer, 400, "invalid_request")
    assert [error["field"] for error in told["errors"]] == [field]
    assert field in told["detail"]
    assert told["instance"] == "/things"


async def test_other_bad_requests(site: Site) -> None:
    told = problem(await site.http.get("/things/3?limit=0"), 400, "invalid_request")
    assert told["errors"][0]["field"] == "limit"
    problem(
        await site.http.post("/things", content=b"{", headers={"content-type": "application/json"}),
        400,
        "invalid_request",
    )
    problem(await site.http.post("/things", json={"name": "x" * 2000}), 413, "payload_too_large")
    problem(await site.http.get("/nowhere"), 404, "not_found")
    assert "POST" in (await site.http.delete("/things")).headers["allow"]
    problem(await site.http.delete("/things"), 405, "method_not_allowed")
    answer = await site.http.get("/stranger")
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_our_errors_keep_code_fields_and_headers(site: Site) -> None:
    answer = await site.http.get("/ours")
    told = problem(answer, 429, "rate_limited")
    assert (answer.headers["retry-after"], told["detail"]) == ("7", "10 a minute are allowed")
    assert told["errors"] == [{"field": "key", "message": "used up"}]
    assert told["trace_id"] == answer.headers["x-trace-id"]


async def test_an_unknown_error_tells_nothing_of_the_inside(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    answer = await site.http.get("/unknown")
    problem(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "hunter2" in caplog.text


async def test_one_span_a_request_links_to_the_callers_trace_and_never_joins_it(site: Site) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await site.http.get("/things/3", headers={"traceparent": parent})
    assert answer.headers["x-trace-id"] != "0af7651916cd43dd8448eb211c80319c"
    await site.http.get("/stream")
    await site.http.get("/unknown")
    await site.http.get("/healthz")
    first, second, third = site.spans.get_finished_spans()
    assert (first.name, first.kind) == ("GET /things/{number}", SpanKind.SERVER)
    assert first.parent is None
    assert [link.context.span_id for link in first.links] == [0xB7AD6B7169203331]
    assert (second.name, second.status.status_code) == ("GET /stream", StatusCode.UNSET)
    assert third.status.status_code == StatusCode.ERROR


async def test_health_routes(site: Site) -> None:
    assert (await site.http.get("/healthz")).status_code == 200
    answer = await site.http.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"bus": "ok", "store": "failing"})


SERVICE = """
    import asyncio, sys
    from litestar import Litestar, get
    from servicekit.http import serve
    from servicekit.process import run

    @get("/slow")
    async def slow() -> str:
        print("began", flush=True)
        await asyncio.sleep(1)
        return "whole"

    async def main():
        print(type(asyncio.get_running_loop()).__module__, flush=True)
        try:
            await serve(Litestar([slow], logging_config=None), "127.0.0.1", int(sys.argv[1]))
        finally:
            print("cleaned up", flush=True)

    run("slow", main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_finishes_running_requests_and_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    script, log = tmp_path / "service.py", tmp_path / "log"
    script.write_text(textwrap.dedent(SERVICE))
    (port,) = free_ports(1)
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, str(script), str(port)], stdout=out, env={**os.environ})
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=8), timeout=20) as http:
            asking = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/slow"))
            await eventually(lambda: "began" in log.read_text())
            process.send_signal(number)
            assert (await asking).text == "whole"
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
    assert "cleaned up" in log.read_text()
    assert "uvloop" in log.read_text()
