"""Connections that dawdle, shout or never listen, against a server with small limits."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from typing import Any

import pytest
from msgspec.structs import replace

from servicekit.guard import HttpLimits
from servicekit.http import make_server
from servicekit.servers import LOOPBACK, free_ports

PATIENCE_S = 60
Message = MutableMapping[str, Any]


class Site:
    """An application that reads its body and says how long it was; /early answers first, /large answers 64 MiB."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gone = asyncio.Event()
        self.port = 0

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        self.calls.append(scope["path"])
        size = 0
        if scope["path"] == "/large":
            await self._send_much(receive, send)
            return
        while scope["path"] != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _send_much(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        assert (await receive())["type"] == "http.disconnect"
        self.gone.set()

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send bytes, wait for the end of the connection, and answer the first status (0: none) and all that was said."""
        async with self.connection() as (reader, writer):
            writer.write(data)
            return await answer(reader)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        yield reader, writer
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    said = b""
    with suppress(ConnectionResetError):  # an answer that was lost with it is none
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read()
    return (int(said.split()[1]) if said else 0), said


def problem(said: bytes) -> dict[str, Any]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    found: dict[str, Any] = json.loads(body)
    return found


@asynccontextmanager
async def serving(limits: HttpLimits) -> AsyncIterator[Site]:
    site = Site()
    (site.port,) = free_ports(1)
    server = make_server(site, LOOPBACK, site.port, grace_s=1, limits=limits)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield site
    finally:
        server.should_exit = True
        await task


PATIENT = HttpLimits(head_s=PATIENCE_S, body_s=PATIENCE_S, stall_s=PATIENCE_S, connections=8)
HEAD_S = 1.0
"""A head of one piece always arrives within, also on a busy machine."""
HASTY = replace(PATIENT, head_s=HEAD_S)
HASTY_BODY = replace(PATIENT, body_s=0.2, stall_s=0.2)
HOST = b"Host: x\r\n"
END = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: aaaa"])
async def test_a_head_that_does_not_come_is_told_and_ended(begun: bytes) -> None:
    async with serving(HASTY) as site:
        status, said = await site.ask(begun)
    assert (status, problem(said)["code"]) == (408, "request_timeout")
    assert site.calls == []


async def test_a_connection_without_a_word_is_ended_without_one() -> None:
    async with serving(HASTY) as site:
        assert await site.ask(b"") == (0, b"")


async def test_a_head_byte_by_byte_does_not_win_time() -> None:
    async with serving(HASTY) as site, site.connection() as (reader, writer):
        async with asyncio.timeout(PATIENCE_S):
            for byte in chain(b"GET / HTTP/1.1\r\nX-Slow: ", repeat(ord("a"))):
                if reader.at_eof() or reader._buffer:
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
        status, _ = await answer(reader)
    assert status == 408


async def test_a_body_that_does_not_come_ends_request_and_connection() -> None:
    async with serving(HASTY_BODY) as site:
        status, said = await site.ask(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
        assert (status, problem(said)["code"]) == (408, "request_timeout")
        async with asyncio.timeout(PATIENCE_S):
            await site.gone.wait()


async def test_what_follows_an_early_answer_is_not_waited_for() -> None:
    async with serving(HASTY_BODY) as site:
        status, said = await site.ask(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
    assert (status, said.count(b"HTTP/1.1")) == (200, 1), "one answer, never a second one"


async def test_a_connection_may_rest_between_requests() -> None:
    async with serving(HASTY) as site, site.connection() as (reader, writer):
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")
            async with asyncio.timeout(PATIENCE_S):
                assert (await reader.readuntil(b"\r\n\r\n3")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(1.5 * HEAD_S)
    assert site.calls == ["/", "/"]


async def test_who_does_not_read_is_given_up() -> None:
    async with serving(HASTY_BODY) as site, site.connection() as (reader, writer):
        reader._transport.pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await site.gone.wait()


LARGE = [
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 4_000_000,
    b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 101 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X%d: %s\r\n" % (n, b"a" * 900) for n in range(50)) + b"\r\n",
]


@pytest.mark.parametrize("head", LARGE, ids=["value", "endless value", "path", "lines", "sum"])
async def test_large_heads_are_refused(head: bytes) -> None:
    async with serving(PATIENT) as site:
        status, said = await site.ask(head)
    assert (status, problem(said)["code"]) == (431, "headers_too_large")
    assert site.calls == []


ODD = {
    "nothing of HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "endless length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "hidden chunks": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "a bad chunk": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a trailer": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    "authority as path": b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
async def test_requests_that_two_servers_would_read_differently_are_refused(data: bytes) -> None:
    async with serving(PATIENT) as site:
        status, said = await site.ask(data)
    assert (status, problem(said)["code"]) == (400, "invalid_request")
    assert said.count(b"HTTP/1.1 ") == 1


async def test_ordinary_oddities_are_served() -> None:
    chunks = b"".join(b"1\r\na\r\n" for _ in range(65_537))
    async with serving(PATIENT) as site:
        assert (await site.ask(b"GET / HTTP/1.0\r\n\r\n"))[0] == 200
        assert (await site.ask(b"GET http://elsewhere/own HTTP/1.1\r\n" + HOST + END))[0] == 200
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + END
        status, said = await site.ask(head + chunks + b"0\r\n\r\n")
        assert (status, said.endswith(b"65537")) == (200, True)
        two = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n" + b"GET /b HTTP/1.1\r\n" + HOST + END
        assert (await site.ask(two))[1].count(b"HTTP/1.1 200") == 2
    assert site.calls == ["/", "/own", "/", "/a", "/b"]


async def test_without_room_the_longest_waiting_connection_goes() -> None:
    async with serving(PATIENT) as site:
        held = [await asyncio.open_connection(LOOPBACK, site.port) for _ in range(30)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        status, said = await site.ask(b"GET / HTTP/1.1\r\n" + HOST + END)
        assert (status, said.endswith(b"0")) == (200, True)
        ended = 0
        for reader, writer in held[:20]:
            status, said = await answer(reader)
            assert status in (0, 503), said
            ended += 1
            writer.close()
        assert ended == 20
        for _, writer in held[20:]:
            writer.close()
