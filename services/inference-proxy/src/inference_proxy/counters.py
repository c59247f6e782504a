"""Shared counters on NATS: a JetStream stream in memory whose messages are sums (`Nats-Incr`)."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from contracts.errors import Transient

STREAM = "RATE"
PREFIX = "rate"
KEEP_S = 180.0
TIMEOUT_S = 1.0

_log = logging.getLogger(__name__)
_CONFIG = StreamConfig(
    name=STREAM,
    description="Requests per user and minute.",
    subjects=[f"{PREFIX}.>"],
    storage=StorageType.MEMORY,
    discard=DiscardPolicy.OLD,
    max_msgs_per_subject=1,
    max_age=KEEP_S,
    allow_msg_counter=True,
)


class NatsCounters:
    """Counters that forget themselves after three minutes, on a connection of their own.

    When the server has lost them (it restarted), `restore` says what to add to which before anything else is counted.
    """

    def __init__(self) -> None:
        self._restore: Callable[[], Mapping[str, int]] = dict
        self._client: Client | None = None
        self._created: datetime | None = None
        self._trusted = False
        self._checking = asyncio.Lock()

    async def connect(self, nats_url: str, *, restore: Callable[[], Mapping[str, int]]) -> None:
        """Open the connection and make the stream where it is missing."""
        self._restore = restore
        self._client = await nats.connect(
            nats_url, name="inference-proxy-rate", max_reconnect_attempts=-1, reconnect_time_wait=0.25,
            connect_timeout=5, reconnected_cb=self._distrust, disconnected_cb=self._distrust, error_cb=_on_error,
        )  # fmt: skip
        await self._trust()

    async def close(self) -> None:
        if self._client is not None:
            with suppress(nats.errors.Error, OSError):
                await self._client.close()

    async def add(self, key: str, delta: int) -> int:
        """Add and answer the new value; Transient("unavailable") when no answer came."""
        try:
            if not self._trusted:
                await self._trust()
            try:
                return await self._publish(key, delta)
            except nats.js.errors.NoStreamResponseError:
                self._trusted = False
                await self._trust()
                return await self._publish(key, delta)
        except (nats.errors.Error, OSError) as error:
            raise Transient("unavailable", "the rate limiter does not answer", headers={"Retry-After": "2"}) from error

    async def _trust(self) -> None:
        """Make sure that the stream is the one we counted in; fill one that was made anew."""
        async with self._checking:
            if self._trusted:
                return
            info = await self._connected().jetstream(timeout=TIMEOUT_S).add_stream(_CONFIG)
            if self._created is not None and info.created != self._created:
                _log.warning("rate: the server lost its counters, putting back what was admitted here")
                for key, admitted in self._restore().items():
                    await self._publish(key, admitted)
            self._created = info.created
            self._trusted = True

    async def _publish(self, key: str, delta: int) -> int:
        context = self._connected().jetstream(timeout=TIMEOUT_S)
        ack = await context.publish(f"{PREFIX}.{key}", headers={"Nats-Incr": str(delta)})
        if ack.val is None:
            raise nats.errors.Error
        return int(ack.val)

    def _connected(self) -> Client:
        if self._client is None:
            raise Transient("unavailable", "the rate limiter is not connected")
        return self._client

    async def _distrust(self) -> None:
        self._trusted = False


async def _on_error(error: Exception) -> None:
    _log.warning("NATS connection of the rate limiter: %s", error or type(error).__name__)
