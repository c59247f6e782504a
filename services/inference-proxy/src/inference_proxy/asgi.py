"""Requests and answers on bare ASGI: a bounded body, JSON answers, problem details."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from contracts.errors import ModelportError, Permanent
from servicekit.http import PROBLEM_JSON, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"


class ClientGone(Exception):
    """The client hung up before its body was whole; nobody waits for an answer."""


class Answer(Struct, frozen=True, kw_only=True):
    """What is sent back."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = {}


class Call:
    """One request being received."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self.is_read = False

    def header(self, name: str) -> str:
        """The value, empty where there is none; `name` in lower case."""
        return self._headers.get(name.encode(), b"").decode("latin-1")

    def expected_bytes(self, limit: int) -> int:
        """How large the body may become: as announced, never more than `limit`."""
        announced = self.header("content-length")
        return min(int(announced), limit) if _is_number(announced) else limit

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """The whole body; Permanent("payload_too_large") as soon as it exceeds `limit` bytes, announced or received."""
        announced = self.header("content-length")
        if _is_number(announced) and int(announced) > limit:
            raise _too_large(limit)
        if self.header("content-encoding") not in ("", "identity"):
            raise Permanent("unsupported_media_type", "Compressed bodies are not understood.")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._parts(limit)
        except TimeoutError as error:
            raise Permanent("invalid_request", f"The body did not arrive within {timeout_s:.0f} s.") from error

    async def _parts(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while not self.is_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            total += len(part)
            if total > limit:
                raise _too_large(limit)
            parts.append(part)
            self.is_read = not message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def respond(send: Send, answer: Answer, *, close: bool) -> None:
    """Send it; `close` ends the connection, for requests whose body nobody read."""
    headers = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in answer.headers.items()),
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def problem(error: ModelportError, path: str, trace_id: str = "") -> Answer:
    """The answer that tells an error (RFC 9457)."""
    body = Problem(
        type=f"urn:modelport:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.message,
        instance=path,
        code=error.code,
        hint=error.hint,
        errors=error.fields,
        trace_id=trace_id,
    )
    return Answer(
        status=error.status, body=msgspec.json.encode(body), media_type=PROBLEM_JSON, headers=dict(error.headers)
    )


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and stop are the caller's business: agree to both."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _too_large(limit: int) -> Permanent:
    return Permanent("payload_too_large", f"The body has more than {limit} bytes.")
