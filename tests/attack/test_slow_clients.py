"""Clients that hold connections without ever asking anything: the others do not notice, and the slow ones are ended."""

import socket
from contextlib import ExitStack

import httpx
import pytest

from tests.attack import wire

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(600)]

MIB = 1 << 20
FACES = {"gateway": "gateway_url", "inference-proxy": "proxy_url"}
BEGUN = (b"", b"POST", b"POST /v1/infer/x HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nX-Slow: a")


@pytest.mark.parametrize("face", FACES)
def test_connections_held_open_shut_nobody_out(stack, trials, figure, face) -> None:
    url, count = getattr(stack.about, FACES[face]), trials(400, 1500)
    before = wire.resident(stack, face)
    with ExitStack() as held:
        slow = [held.enter_context(wire.dial(url)) for _ in range(count)]
        for number, connection in enumerate(slow):
            try:
                connection.sendall(BEGUN[number % len(BEGUN)])
            except OSError:
                continue  # it had to make room already
        answered = sum(httpx.get(f"{url}/healthz", timeout=60).status_code == 200 for _ in range(20))
        grown = wire.resident(stack, face) - before
        ended = [status for connection in slow if (status := ending(connection)) is not None]
    figure(f"{face}: requests refused while {count} connections dawdle", trials=20, measured=20 - answered, promised=0)
    figure(f"{face}: dawdling connections that were never ended", trials=count, measured=count - len(ended), promised=0)
    figure(f"{face}: MiB of memory for them", trials=count, measured=max(grown, 0) // MIB, promised="≤ 64")
    assert answered == 20
    assert len(ended) == count
    assert set(ended) <= {0, 400, 408, 503}
    assert grown <= 64 * MIB


def ending(connection: socket.socket) -> int | None:
    """What the server said last; None where it never ended the connection."""
    try:
        return wire.listen(connection).status
    except TimeoutError:
        return None


def test_bodies_that_dribble_shut_nobody_out(stack, thief, victim, trials, figure) -> None:
    """Only who has a valid token or key can have a body waited for; a user has a bounded number of these on the proxy."""
    count = trials(60, 300)
    post = "Content-Length: 1000\r\nContent-Type: image/png\r\n\r\n{"
    targets = (
        (stack.about.gateway_url, "/api/v1/uploads", thief.token),
        (stack.about.proxy_url, f"/v1/infer/{victim.ids['deployment_id']}", victim.api_key),
    )
    for url, path, token in targets:
        with ExitStack() as held:
            for _ in range(count):
                connection = held.enter_context(wire.dial(url))
                connection.sendall(
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{post}".encode()
                )
            answered = sum(httpx.get(f"{url}/healthz", timeout=60).status_code == 200 for _ in range(20))
        figure(
            f"requests refused while {count} bodies dribble at {path.split('/')[1]}",
            trials=20,
            measured=20 - answered,
            promised=0,
        )
        assert answered == 20


def test_who_has_no_token_is_not_listened_to(stack, victim) -> None:
    """The answer comes before the body, which may be as long as it likes."""
    head = "Host: x\r\nContent-Length: 1000000\r\n\r\n"
    for url, path in (
        (stack.about.gateway_url, "/api/v1/uploads"),
        (stack.about.proxy_url, f"/v1/infer/{victim.ids['deployment_id']}"),
    ):
        said = wire.raw(url, f"POST {path} HTTP/1.1\r\n{head}".encode())
        assert said.status == 401
