"""The bus in memory: streams with a window of duplicates, durable consumers, followers, key-value buckets."""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import nats.errors
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from contracts.envelope import MESSAGE_ID_HEADER
from contracts.subjects import LEASES, STREAMS, stream_of
from servicekit.bus import Bus

from .clock import EPOCH, Process

WINDOW_S = 120.0
Lost = nats.errors.TimeoutError


@dataclass
class Stored:
    """One message of a stream."""

    sequence: int
    subject: str
    headers: dict[str, str]
    data: bytes


@dataclass
class Delivery:
    """When a consumer may get a message next, and how often it has got it."""

    due: float
    count: int = 0


@dataclass(eq=False)
class Consumer:
    """A durable: what it has not acknowledged, by sequence."""

    stream: "Stream"
    subjects: list[str]
    ack_wait: float
    waiting: dict[int, Delivery] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, message: Stored) -> None:
        if any(matches(subject, message.subject) for subject in self.subjects):
            self.waiting[message.sequence] = Delivery(asyncio.get_running_loop().time())
            self.news.set()

    def due(self) -> list[int]:
        now = asyncio.get_running_loop().time()
        return [sequence for sequence, delivery in self.waiting.items() if delivery.due <= now]

    def later(self, sequence: int, seconds: float) -> None:
        """Deliver it again after so long; nothing where it is settled."""
        if (delivery := self.waiting.get(sequence)) is not None:
            loop = asyncio.get_running_loop()
            delivery.due = loop.time() + seconds
            loop.call_later(seconds + 1e-6, self.news.set)


@dataclass(eq=False)
class Stream:
    name: str
    created: datetime
    messages: list[Stored] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_lost: bool = False

    def store(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        """Keep and offer it, unless its id was seen within the window."""
        now = asyncio.get_running_loop().time()
        identity = headers.get(MESSAGE_ID_HEADER, "")
        if identity and now - self.seen.get(identity, -WINDOW_S) < WINDOW_S:
            return
        self.seen[identity] = now
        message = Stored(len(self.messages) + 1, subject, headers, data)
        self.messages.append(message)
        for consumer in self.consumers.values():
            consumer.offer(message)
        self.news.set()


@dataclass
class Bucket:
    created: datetime
    values: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    revision: int = 0


class Broker:
    """The server; it never dies, but it can lose a stream or the bucket of leases."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._births = 0
        self.streams = {stream.name: Stream(stream.name, self._born()) for stream in STREAMS}
        self.leases = Bucket(self._born())

    def lose(self, name: str) -> None:
        """The operator deletes it by hand; services declare it anew."""
        self._tell(f"the bus loses {name}")
        if name == LEASES:
            self.leases = Bucket(self._born())
            return
        lost = self.streams[name]
        fresh = self.streams[name] = Stream(name, self._born())
        lost.is_lost = True
        lost.news.set()
        for durable, consumer in lost.consumers.items():
            fresh.consumers[durable] = Consumer(fresh, consumer.subjects, consumer.ack_wait)
            consumer.news.set()

    def _born(self) -> datetime:
        self._births += 1
        return datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=self._births)


class SimBus(Bus):
    """The real `Bus` of one process over the broker: its envelopes, ids and retries are what runs."""

    def __init__(self, process: Process, broker: Broker, service: str) -> None:
        super().__init__("", service, QUIET)
        self.process = process
        self.broker = broker

    @property
    def jetstream(self) -> Any:
        return SimpleNamespace(bus=self, publish=self._store, stream_info=self._stream_info)

    async def kv(self, bucket: str, **_: object) -> Any:
        return Keys(self)

    async def _store(
        self, subject: str, data: bytes, *, headers: dict[str, str], stream: str | None = None, **_: object
    ) -> None:
        target = stream or stream_of(subject)
        await self.process.deal(
            lambda: self.broker.streams[target].store(subject, data, headers), Lost, f"publishing {subject}"
        )

    async def _stream_info(self, name: str) -> Any:
        found = self.broker.leases if name == f"KV_{LEASES}" else self.broker.streams[name]
        return await self.process.deal(lambda: SimpleNamespace(created=found.created), Lost)


class Keys:
    """The bucket of leases as one process sees it."""

    def __init__(self, bus: SimBus) -> None:
        self._bus = bus

    async def get(self, key: str) -> Any:
        def look() -> Any:
            try:
                value, revision = self._bus.broker.leases.values[key]
            except KeyError as error:
                raise KeyNotFoundError from error
            return SimpleNamespace(value=value, revision=revision)

        return await self._bus.process.deal(look, Lost, f"reading lease {key[:8]}")

    async def update(self, key: str, value: bytes, last: int | None = None) -> int:
        def swap() -> int:
            bucket = self._bus.broker.leases
            known = bucket.values.get(key, (b"", 0))[1]
            if last is not None and known != last:
                raise KeyWrongLastSequenceError("wrong last sequence")
            bucket.revision += 1
            bucket.values[key] = (value, bucket.revision)
            return bucket.revision

        return await self._bus.process.deal(swap, Lost, f"writing lease {key[:8]}")


def matches(pattern: str, subject: str) -> bool:
    """NATS' wildcards as far as the contracts use them: `*` as the last token, or `.>`."""
    if pattern.endswith((".*", ".>")):
        return subject.startswith(pattern[:-1])
    return subject == pattern


class _Quiet:
    """Telemetry that says nothing."""

    @contextmanager
    def span(self, *_: object, **__: object) -> Any:
        yield SimpleNamespace(set_attribute=lambda *_: None)


QUIET: Any = _Quiet()
