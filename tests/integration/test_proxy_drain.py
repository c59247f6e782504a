"""A proxy that is asked to stop while 64 clients are at it: every request that it has taken is answered."""

import http.client
import io
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from bench.alone import Alone, Endpoint, proxy_alone
from tests.stack import until

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]

CLIENTS = 64
PATIENCE_S = 60.0


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "JPEG")
    return out.getvalue()


@dataclass
class Caller:
    """One client on a kept connection, calling until it is told to go elsewhere; what it was not answered is `dropped`."""

    endpoint: Endpoint
    answered: int = 0
    dropped: list[str] = field(default_factory=list)

    def call_until_sent_away(self, data: bytes) -> None:
        parts = urlsplit(self.endpoint.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.endpoint.key}", "Content-Type": "image/jpeg"}
        is_sent_away = False
        while not is_sent_away:
            try:
                connection.request("POST", parts.path, data, headers)
                answer = connection.getresponse()
                body = answer.read()
            except (http.client.HTTPException, OSError) as error:
                self.dropped.append(repr(error))
                return
            if answer.status != 200:
                self.dropped.append(f"{answer.status}: {body[:200]!r}")
            self.answered += 1
            is_sent_away = answer.headers.get("Connection", "") == "close"
        connection.close()


def stop_under_load(alone: Alone) -> tuple[int, list[str]]:
    """SIGTERM in the middle: how many were answered, and what was dropped."""
    callers = [Caller(endpoint) for endpoint in alone.endpoints[:CLIENTS]]
    data = picture()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(caller.call_until_sent_away, data) for caller in callers]
        until(
            lambda: all(caller.answered or caller.dropped for caller in callers),
            PATIENCE_S,
            "every client was answered once",
        )
        os.kill(alone.server.pid, signal.SIGTERM)
        for one in running:
            one.result()
    until(lambda: not alone.server.is_running(), PATIENCE_S, "the proxy has ended")
    return sum(caller.answered for caller in callers), [what for caller in callers for what in caller.dropped]


def test_sigterm_under_load_drops_nothing(trials: Callable[[int, int], int], figure: Callable[..., None]) -> None:
    rounds, answered, dropped = trials(2, 20), 0, []
    with proxy_alone(users=CLIENTS, delay_ms=20) as alone:
        for number in range(rounds):
            if number:
                alone.server.start()
            served, lost = stop_under_load(alone)
            answered, dropped = answered + served, dropped + lost
    figure(
        f"requests of {CLIENTS} clients dropped by a proxy that is stopped {rounds} times",
        trials=answered,
        measured=len(dropped),
        promised=0,
    )
    assert dropped == []


def test_readiness_goes_first_and_a_second_signal_is_quick() -> None:
    """Open connections keep the proxy for a moment, in which it says that it leaves; a second SIGTERM waits for nothing."""
    with proxy_alone(users=1, delay_ms=600_000, settings={"MODELPORT_INFERENCE_TIMEOUT_S": "600"}) as alone:
        parts = urlsplit(alone.endpoints[0].url)
        address = parts.hostname or "", parts.port or 0
        with (
            socket.create_connection(address, PATIENCE_S) as busy,
            socket.create_connection(address, PATIENCE_S) as idle,
        ):
            busy.sendall(_request(alone, parts.path))
            os.kill(alone.server.pid, signal.SIGTERM)
            until(lambda: _readiness(alone) != 200, PATIENCE_S, "the proxy has heard the signal")
            said = b""
            with suppress(ConnectionError):  # where we are slow, its moment is over
                idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
                said = idle.recv(1 << 16)
            assert said == b"" or b" 503 " in said.splitlines()[0]
            assert alone.server.is_running(), "a request is on its way"
            os.kill(alone.server.pid, signal.SIGTERM)
            until(lambda: not alone.server.is_running(), PATIENCE_S, "the proxy has ended")


def _request(alone: Alone, path: str) -> bytes:
    data = picture()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {alone.endpoints[0].key}\r\nContent-Type: image/jpeg\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _readiness(alone: Alone) -> int:
    """Its status, 0 where nobody listens any more."""
    try:
        return httpx.get(f"{alone.url}/readyz", trust_env=False, timeout=PATIENCE_S).status_code
    except httpx.TransportError:
        return 0


def test_triton_that_is_slow_or_away_is_told_and_comes_back() -> None:
    """503 with Retry-After without Triton, 504 where it does not answer in time, and 200 again without a restart of the proxy."""
    with proxy_alone(users=1, settings={"MODELPORT_INFERENCE_TIMEOUT_S": "5"}) as alone:
        triton = alone.upstream
        assert triton is not None
        assert _ask(alone).status_code == 200
        triton.kill()
        away = _ask(alone)
        assert (away.status_code, away.json()["code"], "Retry-After" in away.headers) == (503, "unavailable", True)
        assert _readiness(alone) == 503
        triton.start()
        assert _ask(alone).status_code == 200
        os.kill(triton.pid, signal.SIGSTOP)
        slow = _ask(alone)
        os.kill(triton.pid, signal.SIGCONT)
        assert (slow.status_code, slow.json()["code"]) == (504, "timeout")
        until(lambda: _ask(alone).status_code == 200, PATIENCE_S, "the model answers again")


def _ask(alone: Alone) -> httpx.Response:
    headers = {"Authorization": f"Bearer {alone.endpoints[0].key}", "Content-Type": "image/jpeg"}
    return httpx.post(alone.endpoints[0].url, content=picture(), headers=headers, trust_env=False, timeout=PATIENCE_S)
