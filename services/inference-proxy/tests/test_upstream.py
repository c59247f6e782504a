"""Kept connections against a server that breaks the rules of HTTP: whatever is out of order is never used again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from inference_proxy.upstream import AnswerError, ConnectError, Disconnected, Reply, Upstream

REQUEST = (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1000


class Server:
    """Says `answers`, one a request, whatever they are; counts connections."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.closes = False
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(self.answers.pop(0))
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()


@pytest.fixture
async def ask(server: Server) -> AsyncIterator[Callable[[], Awaitable[Reply]]]:
    async with Upstream(f"http://127.0.0.1:{server.port}", size=4, connect_timeout_s=60) as upstream:
        yield lambda: upstream.ask(REQUEST, LIMIT)


Ask = Callable[[], Awaitable[Reply]]


async def test_one_connection_serves_one_call_after_the_other(server: Server, ask: Ask) -> None:
    server.answers = [OK] * 3
    replies = [await ask() for _ in range(3)]
    assert [(reply.status, reply.body, reply.headers) for reply in replies] == [
        (200, b"ok", {b"content-length": b"2"})
    ] * 3
    assert server.connections == 1


async def test_chunks_are_one_body(server: Server, ask: Ask) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"]
    assert (await ask()).body == b"abc"


async def test_an_answer_that_ends_the_connection_is_followed_by_another_one(server: Server, ask: Ask) -> None:
    server.answers = [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK]
    assert [(await ask()).status, (await ask()).status] == [200, 200]
    assert server.connections == 2


@pytest.mark.parametrize("extra", [OK, b"x", b"\r\n\r\nHTTP/1.1 200 OK\r\n"])
async def test_more_than_was_asked_for_never_becomes_the_next_answer(server: Server, ask: Ask, extra: bytes) -> None:
    other = b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n"
    server.answers = [OK + extra, other]
    try:
        first = await ask()
    except AnswerError:
        first = None
    assert first is None or first.body == b"ok"
    assert (await ask()).status == 201
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
    ],
)
async def test_what_is_no_bounded_answer_is_refused(server: Server, ask: Ask, answer: bytes) -> None:
    server.answers = [answer, OK]
    with pytest.raises(AnswerError):
        await ask()
    assert (await ask()).body == b"ok"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"100 Continue", b"503 Service Unavailable"])
async def test_what_a_refused_request_left_unread_never_becomes_another_one(
    server: Server, ask: Ask, status: bytes
) -> None:
    server.answers = [OK.replace(b"200 OK", status), OK]
    assert (await ask()).status == int(status[:3])
    assert (await ask()).status == 200
    assert server.connections == 2


async def test_an_answer_to_half_a_request_ends_the_connection() -> None:
    connections = 0

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        with suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(hasty, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, Upstream(f"http://127.0.0.1:{port}", size=1, connect_timeout_s=60) as upstream:
        for _ in range(2):
            assert (await upstream.ask((*REQUEST, bytes(64 << 20)), LIMIT)).body == b"ok"
    assert connections == 2


async def test_an_answer_that_breaks_off_is_asked_for_once_more(server: Server, ask: Ask) -> None:
    server.answers, server.closes = [OK[:-1], OK[:-1]], True
    with pytest.raises(Disconnected):
        await ask()
    assert server.connections == 2


async def test_a_cancelled_call_ends_its_connection(server: Server, ask: Ask) -> None:
    server.answers = [OK[:-1], OK]
    call = asyncio.ensure_future(ask())
    while len(server.answers) > 1:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await ask()).body == b"ok"
    assert server.connections == 2


async def test_nobody_there() -> None:
    async with Upstream("http://127.0.0.1:1", size=1, connect_timeout_s=60) as upstream:
        with pytest.raises(ConnectError):
            await upstream.ask(REQUEST, LIMIT)
