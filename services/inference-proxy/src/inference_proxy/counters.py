"""Shared counters on NATS: a JetStream stream in memory whose messages are sums (`Nats-Incr`).

A restarted server has lost them. Each incarnation has subjects of its own, numbered by the ledger, so that nobody can
count in one without knowing of it. A proxy that learns of a new one puts back what it has itself admitted; and nobody
counts before all that may have admitted something in the running minute have done so, or that minute is over.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from contracts.errors import Transient
from servicekit.connections import PING_S, close

STREAM = "MINUTES"
PREFIX = "minutes"
KEEP_S = 180.0
TIMEOUT_S = 1.0
RECHECK_S = 0.25

_log = logging.getLogger(__name__)


class EpochPort(Protocol):
    """See `inference_proxy.ledger.Epoch`."""

    number: int

    async def begin(self) -> None: ...

    async def restored(self) -> bool: ...


class NatsCounters:
    """Counters that forget themselves after three minutes, on a connection of their own."""

    def __init__(self, epoch: Callable[[], AbstractAsyncContextManager[EpochPort]]) -> None:
        self._held = epoch
        self._restore: Callable[[], Mapping[str, int]] = dict
        self._client: Client | None = None
        self._epoch = -1
        self._trusted = False
        self._checking = asyncio.Lock()
        self._checked = 0.0

    async def connect(self, nats_url: str, *, restore: Callable[[], Mapping[str, int]]) -> None:
        """Open the connection; `restore` says what this proxy has admitted in the running minute, by counter."""
        self._restore = restore
        self._client = await nats.connect(
            nats_url, name="inference-proxy-rate", max_reconnect_attempts=-1, reconnect_time_wait=0.25,
            connect_timeout=5, ping_interval=PING_S, error_cb=_on_error,
        )  # fmt: skip
        with suppress(nats.errors.Error, OSError, Transient):
            await self._trust()

    async def close(self) -> None:
        if self._client is not None:
            await close(self._client)

    async def add(self, key: str, delta: int) -> int:
        """Add and answer the new value; Transient("unavailable") when no answer came or counts are missing."""
        try:
            await self._trust()
            try:
                return await self._publish(key, delta)
            except nats.js.errors.NoStreamResponseError:
                self._trusted = False
                await self._trust()
                return await self._publish(key, delta)
        except (nats.errors.Error, OSError) as error:
            raise _unavailable("the rate limiter does not answer") from error

    async def _trust(self) -> None:
        """Returns when the counters hold everything that counts."""
        if self._trusted:
            return
        if not self._connected().is_connected:
            raise nats.errors.ConnectionClosedError
        async with self._checking:
            if not self._trusted and self._now() - self._checked >= RECHECK_S:
                self._trusted = await self._catch_up()
                self._checked = self._now()
        if not self._trusted:
            raise _unavailable("the counters of this minute were lost")

    async def _catch_up(self) -> bool:
        """Learn of the present incarnation or make one, put back what was admitted here; whether nothing is missing."""
        async with self._held() as held:
            if not held.number or not await self._exists(held.number):
                await held.begin()
                await self._make(held.number)
            if self._epoch != held.number:
                for key, admitted in self._restore().items():
                    await self._publish(key, admitted, epoch=held.number)
                if self._epoch > 0:
                    _log.warning("rate: the counters were lost; what was admitted here is put back")
                self._epoch = held.number
            return await held.restored()

    async def _exists(self, epoch: int) -> bool:
        try:
            info = await self._connected().jetstream(timeout=TIMEOUT_S).stream_info(STREAM)
        except nats.js.errors.NotFoundError:
            return False
        return bool(info.config.subjects == [_subjects(epoch)])

    async def _make(self, epoch: int) -> None:
        jetstream = self._connected().jetstream(timeout=TIMEOUT_S)
        with suppress(nats.js.errors.NotFoundError):
            await jetstream.delete_stream(STREAM)
        config = StreamConfig(
            name=STREAM,
            description="Requests per user and minute.",
            subjects=[_subjects(epoch)],
            storage=StorageType.MEMORY,
            discard=DiscardPolicy.OLD,
            max_msgs_per_subject=1,
            max_age=KEEP_S,
            allow_msg_counter=True,
        )
        await jetstream.add_stream(config)

    async def _publish(self, key: str, delta: int, epoch: int | None = None) -> int:
        context = self._connected().jetstream(timeout=TIMEOUT_S)
        subject = f"{PREFIX}.{self._epoch if epoch is None else epoch}.{key}"
        ack = await context.publish(subject, headers={"Nats-Incr": str(delta)})
        if ack.val is None:
            raise nats.errors.Error
        return int(ack.val)

    def _connected(self) -> Client:
        if self._client is None:
            raise _unavailable("the rate limiter is not connected")
        return self._client

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _subjects(epoch: int) -> str:
    return f"{PREFIX}.{epoch}.>"


def _unavailable(reason: str) -> Transient:
    return Transient("unavailable", reason, headers={"Retry-After": "2"})


async def _on_error(error: Exception) -> None:
    _log.warning("NATS connection of the rate limiter: %s", error or type(error).__name__)
