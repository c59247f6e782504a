"""A request's body in pieces: bounded, in time, and nobody is answered who has left."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts.errors import Permanent
from inference_proxy.asgi import Call, ClientGone

Receive = Callable[[], Awaitable[dict[str, Any]]]


def call(receive: Receive, **headers: str) -> Call:
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": listed}
    return Call(scope, receive)


def pieces(*bodies: bytes, ends: bool = True) -> Receive:
    """A client that sends these; one that does not end hangs up."""
    waiting = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    waiting.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return receive


async def test_pieces_are_joined() -> None:
    made = call(pieces(b"a" * 5, b"b" * 5))
    assert not made.is_read
    assert await made.body(10, 1.0) == b"aaaaabbbbb"
    assert made.is_read


async def test_very_many_small_pieces_are_one_body() -> None:
    assert await call(pieces(*[b"x"] * 65_537)).body(65_537, 10.0) == b"x" * 65_537


async def test_one_byte_too_many_is_refused_before_the_rest_is_read() -> None:
    sent = pieces(b"a" * 5, b"b" * 6, b"never asked for")
    made = call(sent)
    with pytest.raises(Permanent) as caught:
        await made.body(10, 1.0)
    assert caught.value.status == 413
    assert (await sent())["body"] == b"never asked for"


async def test_announced_length_is_believed_where_it_is_too_much() -> None:
    made = call(pieces(), content_length="11")
    with pytest.raises(Permanent) as caught:
        await made.body(10, 1.0)
    assert caught.value.status == 413
    assert not made.is_read


@pytest.mark.parametrize(
    ("length", "expected"), [("7", 7), ("11", 10), ("", 10), ("-5", 10), ("٣", 10), ("9" * 30, 10), ("x", 10)]
)
def test_expected_bytes(length: str, expected: int) -> None:
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": [(b"content-length", length.encode())]}
    assert Call(scope, pieces()).expected_bytes(10) == expected


async def test_client_who_left_gets_no_answer() -> None:
    with pytest.raises(ClientGone):
        await call(pieces(b"a", ends=False)).body(10, 1.0)


async def test_client_who_dawdles_is_told_so() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(Permanent) as caught:
        await call(never).body(10, 0.05)
    assert caught.value.status == 400


async def test_compressed_bodies_are_refused_unread() -> None:
    made = call(pieces(b"x"), content_encoding="gzip")
    with pytest.raises(Permanent) as caught:
        await made.body(10, 1.0)
    assert caught.value.status == 415
    assert not made.is_read
