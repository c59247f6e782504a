"""The call to Triton against an upstream that misbehaves in every way; nothing it says gets through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from contracts.errors import Transient
from inference_proxy import triton
from inference_proxy.served import ServedModel, serve
from inference_proxy.triton import TritonClient
from servicekit.health import run_checks

SECRET = "shm region triton_python_backend_shm_region_4f at /tmp/folderXYZ/1/model.onnx"
TENSOR = np.zeros((1, 3, 32, 32), np.float32)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Upstream:
    """A server that answers as it was told and remembers what it got."""

    def __init__(self) -> None:
        self.handler: Handler = self.refuse
        self.seen: list[web.Request] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.handler(request)

    async def refuse(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text=SECRET)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def model(kit: ModuleType) -> ServedModel:
    return serve(kit.endpoint().event, "")


def answering(status: int, body: bytes = SECRET.encode(), headers: dict[str, str] | None = None) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return handler


async def failure(upstream: Upstream, model: ServedModel, **options: Any) -> Transient:
    async with TritonClient(upstream.url, **{"timeout_s": 60.0, **options}) as client:
        with pytest.raises(Transient) as caught:
            await client.infer(model, TENSOR)
    error = caught.value
    assert not any(word in error.message for word in ("shm", "/tmp", "127.0.0.1", "folder"))
    return error


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (500, SECRET.encode(), "upstream_failed"),
        (400, SECRET.encode(), "upstream_failed"),
        (400, b"Request for unknown model: 'd-x' is not found", "unavailable"),
        (404, SECRET.encode(), "unavailable"),
        (503, SECRET.encode(), "unavailable"),
        (302, b"", "upstream_failed"),
        (200, b"", "upstream_failed"),
        (200, SECRET.encode(), "upstream_failed"),
    ],
)
async def test_errors_are_told_in_our_own_words(
    upstream: Upstream, model: ServedModel, status: int, body: bytes, code: str
) -> None:
    upstream.handler = answering(status, body, {"Location": "http://169.254.169.254/"} if status == 302 else None)
    error = await failure(upstream, model)
    assert error.code == code
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("length", ["-5", "99999999999999999999", "abc", "", "٣"])
async def test_header_length_that_lies_is_refused(upstream: Upstream, model: ServedModel, length: str) -> None:
    upstream.handler = answering(200, b"{}", {"Inference-Header-Content-Length": length})
    assert (await failure(upstream, model)).code == "upstream_failed"


async def test_slow_answer_is_a_timeout(upstream: Upstream, model: ServedModel) -> None:
    async def sleepy(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(600)
        raise AssertionError

    upstream.handler = sleepy
    error = await failure(upstream, model, timeout_s=2.0)
    assert (error.code, error.status) == ("timeout", 504)


@pytest.mark.parametrize("announced", [True, False])
async def test_giant_answer_is_cut_off(upstream: Upstream, model: ServedModel, announced: bool) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "9000000"} if announced else None)
        await response.prepare(request)
        for _ in range(90):
            await response.write(b"x" * 100_000)
        return response

    upstream.handler = flood
    assert (await failure(upstream, model, max_answer_bytes=1000)).code == "upstream_failed"


async def test_nobody_there_is_unavailable(upstream: Upstream, model: ServedModel) -> None:
    upstream.url = "http://127.0.0.1:1"
    error = await failure(upstream, model)
    assert (error.code, error.headers) == ("unavailable", {"Retry-After": "2"})


async def test_only_the_mapped_model_is_ever_asked_for(upstream: Upstream, model: ServedModel) -> None:
    await failure(upstream, model)
    [request] = upstream.seen
    assert (request.method, request.path_qs) == ("POST", "/v2/models/d-classifier/infer")
    ours = {"Host", "Content-Type", "Content-Length", "Inference-Header-Content-Length"}
    assert set(request.headers) <= ours | {"Connection"}


@pytest.mark.parametrize("hang_ups", [1, 2])
async def test_connection_that_was_closed_is_opened_again_once(
    upstream: Upstream, model: ServedModel, hang_ups: int
) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        if len(upstream.seen) <= hang_ups:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=500)

    upstream.handler = hang_up
    error = await failure(upstream, model)
    assert len(upstream.seen) == 2
    assert error.code == ("upstream_failed" if hang_ups == 1 else "unavailable")


async def test_one_question_that_a_dead_link_swallows_is_enough_to_leave_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = asyncio.Barrier(3)
    dead: set[asyncio.StreamWriter] = set()
    alive: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                if writer not in dead:
                    if not dead:
                        await together.wait()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, TritonClient(url, timeout_s=60) as client:
        with monkeypatch.context() as patient:
            patient.setattr(triton, "READY_S", 60)
            assert all(await asyncio.gather(*(client.is_ready() for _ in range(3))))
        dead |= alive
        assert (await run_checks({"triton": client.is_ready})).status == "failing"
        monkeypatch.setattr(triton, "READY_S", 60)
        assert await client.is_ready()
    assert len(alive) == 4
