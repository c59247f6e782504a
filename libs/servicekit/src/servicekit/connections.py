"""Opening and closing connections to NATS: patient at the start, certain at the end."""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import nats
import nats.errors
from nats.aio.client import Client

from contracts.errors import Transient
from servicekit import tasks
from servicekit.patience import START_PATIENCE_S

CLOSE_PATIENCE_S = 3.0
PING_S = 4
"""A server that leaves the second ping unanswered counts as gone: a connection that died unnoticed is replaced within twelve seconds."""

_CREDENTIALS = re.compile(r"(?<=//)[^@/,]*@")

_log = logging.getLogger(__name__)


async def _on_error(error: Exception) -> None:
    _log.warning("NATS connection: %s", str(error) or type(error).__name__)


class Options(TypedDict):
    """What every connection asks for."""

    max_reconnect_attempts: int
    reconnect_time_wait: int
    ping_interval: int
    error_cb: Any


OPTIONS = Options(max_reconnect_attempts=-1, reconnect_time_wait=1, ping_interval=PING_S, error_cb=_on_error)


async def open_client(url: str, name: str) -> Client:
    """A client that reconnects for ever; waits a minute for the server, then Transient `unavailable`."""
    try:
        return await asyncio.wait_for(nats.connect(url, name=name, **OPTIONS), START_PATIENCE_S)
    except (nats.errors.Error, OSError) as error:
        address = _CREDENTIALS.sub("", url)
        raise Transient("unavailable", f"NATS at {address} does not answer") from error


async def close(client: Client) -> None:
    """Close within seconds, whatever the server does; never raises.

    A client that is just reconnecting can miss its own cancellation (`tasks.end` says why) and would then try for ever.
    """
    closing = asyncio.create_task(client.close())
    await asyncio.wait({closing}, timeout=CLOSE_PATIENCE_S)
    with quietly("connection"):
        if closing.done():
            closing.result()
    leftover = getattr(client, "_reconnection_task", None)
    await tasks.end(closing, *([leftover] if leftover is not None else []))


@contextmanager
def quietly(what: str) -> Iterator[None]:
    """Log what a server that is away makes of the end of a connection, and go on."""
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        _log.warning("closing the %s: %s", what, str(error) or type(error).__name__)
