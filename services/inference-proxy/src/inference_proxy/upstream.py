"""Kept-alive HTTP/1.1 connections to one server, for calls that we write ourselves to the byte.

A general client costs several times as much as such a call needs (measured: 0.35 ms of processor time). Requests are bytes that
the caller has composed, answers are parsed by llhttp and bounded; a connection on which anything is out of order is not used again.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

HEAD_BYTES = 64 << 10
KEEP_S = 30.0
"""A connection that was idle for longer is not trusted any more."""

Bytes = bytes | memoryview


class ConnectError(OSError):
    """Nobody listens there."""


class Disconnected(OSError):
    """The server ended the connection before its answer was whole."""


class AnswerError(ValueError):
    """The answer is not HTTP, or larger than allowed."""


class Reply(Struct, frozen=True):
    """`headers` by lower-case name; of a repeated one the last."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._limit = self._received = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self.idle_since = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether another call may be made on it."""
        return self._transport is not None and not self._transport.is_closing() and self._waiter is None

    async def ask(self, request: Sequence[Bytes], limit: int) -> Reply:
        """Send one request and read the answer, whose body may have `limit` bytes; one that is not read to its end closes the connection.

        Raises Disconnected and AnswerError.
        """
        if self._transport is None or self._transport.is_closing():
            raise Disconnected("the connection is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._limit, self._received, self._headers, self._parts = limit, 0, {}, []
        self._transport.writelines(request)
        try:
            return await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # a stream transport, whatever the loop

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(Disconnected(str(exc or "closed by the server")))

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._waiter is None or self._waiter.done():
            self.close()  # nothing was asked
            return
        try:
            self._received += len(data)
            if self._received > self._limit + HEAD_BYTES:
                raise AnswerError(f"more than {self._limit} bytes")
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AnswerError) as error:
            self._fail(error if isinstance(error, AnswerError) else _cause(error))
            self.close()

    def on_message_begin(self) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        announced = self._headers.get(b"content-length", b"")
        if announced.isdigit() and len(announced) < 20 and int(announced) > self._limit:
            raise AnswerError(f"{int(announced)} bytes, {self._limit} are allowed")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        parser, waiter, transport = self._parser, self._waiter, self._transport
        if parser is None or waiter is None or waiter.done():
            return
        status = parser.get_status_code()
        unsent = transport.get_write_buffer_size() if transport is not None else 0
        # a server that refuses may not have read the request to its end, and would take the rest for another one
        if status != 200 or unsent or not parser.should_keep_alive():
            self.close()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._parser = [], None
        waiter.set_result(Reply(status, self._headers, body))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class Upstream:
    """At most `size` connections to the server at `base_url`; use as an async context manager."""

    def __init__(self, base_url: str, *, size: int, connect_timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc.rpartition("@")[2]
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._connect_timeout_s = connect_timeout_s
        self._free = asyncio.Semaphore(size)
        self._idle: deque[Connection] = deque()

    async def __aenter__(self) -> "Upstream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.forget()

    async def ask(self, request: Sequence[Bytes], limit: int) -> Reply:
        """One call; raises ConnectError, Disconnected, AnswerError.

        A connection that the server has closed meanwhile is no failure: the call is made once more, on a new one.
        """
        async with self._free:
            try:
                return await self._ask(self._kept() or await self._connect(), request, limit)
            except Disconnected:
                self.forget()
            return await self._ask(await self._connect(), request, limit)

    async def _ask(self, connection: Connection, request: Sequence[Bytes], limit: int) -> Reply:
        reply = await connection.ask(request, limit)
        if connection.is_usable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        return reply

    def _kept(self) -> Connection | None:
        """The one used last; what was idle for too long is closed."""
        old = time.monotonic() - KEEP_S
        while self._idle and (self._idle[0].idle_since < old or not self._idle[0].is_usable):
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        return None

    def forget(self) -> None:
        """Close what is idle: where one connection was dead, the others are as old, and a dead link tells nobody."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._tls)
        except TimeoutError as error:
            raise ConnectError("no connection in time") from error
        except OSError as error:
            raise ConnectError(str(error)) from error
        return connection


def _cause(error: httptools.HttpParserError) -> AnswerError:
    """Errors of callbacks arrive wrapped."""
    inner = error.__context__
    return inner if isinstance(inner, AnswerError) else AnswerError(f"not an HTTP answer: {error}")
