"""What the supervisor knows about one program: how to start it, when it is ready, how it stops."""

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import asyncpg
import msgspec

from servicekit.servers import LOOPBACK, ServerCommand

PROBE_TIMEOUT_S = 3.0


class NotReady(Exception):
    """The program does not answer as it should yet; the message says what was seen."""


class StartError(Exception):
    """The stack cannot start: which program, why, and what to do."""

    def __init__(self, name: str, reason: str, hint: str) -> None:
        super().__init__(f"{name}: {reason}\n  what to do: {hint}")
        self.name = name


Probe = Callable[[], Awaitable[None]]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """`env` is the whole environment; `ports` must be free before a start.

    Before the first start, `clear` removes what a killed predecessor left and the commands of `before` run to their end.
    """

    name: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    ports: tuple[int, ...]
    ready: Probe
    clear: Callable[[], None] = lambda: None
    before: tuple[ServerCommand, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_grace_s: float = 6.0
    start_limit_s: float = 60.0


def answers(url: str) -> Probe:
    """Ready when the URL answers 200."""

    async def probe() -> None:
        await fetch(url)

    return probe


def syncs_every_write(monitor_port: int) -> Probe:
    """nats-server is up and really fsyncs each write: without that an acked message can be lost with the power."""

    async def probe() -> None:
        await fetch(f"http://{LOOPBACK}:{monitor_port}/healthz")
        seen = msgspec.json.decode(await fetch(f"http://{LOOPBACK}:{monitor_port}/jsz"), type=_Jsz)
        if not seen.config.sync_always:
            raise StartError("nats", "JetStream runs without 'sync_interval: always'", "check the written nats.conf")

    return probe


def accepts_queries(dsn: str) -> Probe:
    """PostgreSQL answers a query."""

    async def probe() -> None:
        try:
            connection = await asyncpg.connect(dsn, timeout=PROBE_TIMEOUT_S)
            await connection.close()
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            raise NotReady(str(error)) from error

    return probe


async def fetch(url: str) -> bytes:
    """The body of a 200 answer; NotReady tells what came instead."""
    return await asyncio.to_thread(_fetch, url)


class _JszConfig(msgspec.Struct):
    sync_always: bool = False


class _Jsz(msgspec.Struct):
    config: _JszConfig


def _fetch(url: str) -> bytes:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"{url}: {error}") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.OK:
        raise NotReady(f"{url} answers {answer.status}: {body[:300].decode(errors='replace')}")
    return body
