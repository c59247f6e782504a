"""The bus in memory: streams with a window of duplicates, durable consumers, followers, key-value buckets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import nats.errors
from nats.js.api import ConsumerConfig
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from contracts.envelope import MESSAGE_ID_HEADER
from contracts.subjects import LEASES, STREAMS, base_subject, filter_subject, stream_of
from servicekit.bus import Bus
from servicekit.delivery import read

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


class Message:
    """One delivery, as nats-py hands it to a reader."""

    def __init__(self, process: Process, consumer: Consumer, stored: Stored, count: int) -> None:
        self._process = process
        self._consumer = consumer
        self._sequence = stored.sequence
        self.subject, self.headers, self.data = stored.subject, stored.headers, stored.data
        sequence = SimpleNamespace(stream=stored.sequence, consumer=count)
        self.metadata = SimpleNamespace(stream=consumer.stream.name, sequence=sequence, num_delivered=count)

    def itself(self) -> "Message":
        return self

    async def ack(self) -> None:
        settled = self._consumer.waiting
        await self._process.deal(lambda: settled.pop(self._sequence, None), Lost, f"acknowledging {self.subject}")

    async def ack_sync(self, timeout: float = 1) -> None:
        await self.ack()

    async def term(self) -> None:
        await self.ack()

    async def nak(self, delay: float = 0) -> None:
        await self._process.deal(lambda: self._consumer.later(self._sequence, delay), Lost)

    async def in_progress(self) -> None:
        await self._process.deal(lambda: self._consumer.later(self._sequence, self._consumer.ack_wait), Lost)


class SimPull:
    """Stands in for `servicekit.consumers.PullConsumer`: it waits for news instead of asking every second."""

    def __init__(self, jetstream: Any, stream: str, config: ConsumerConfig) -> None:
        self._bus: SimBus = jetstream.bus
        self._stream = stream
        self._config = config

    async def declare(self) -> None:
        stream = self._bus.broker.streams[self._stream]
        name, subjects = str(self._config.durable_name), list(self._config.filter_subjects or [])
        if name not in stream.consumers:
            stream.consumers[name] = made = Consumer(stream, subjects, self._config.ack_wait or 30.0)
            for message in stream.messages:
                made.offer(message)

    async def bind(self) -> None:
        pass

    async def unsubscribe(self) -> None:
        pass

    async def fetch(self, *_: object) -> list[Message]:
        """One message; some come out of order, some get lost on their way, some come again although they were taken."""
        weather = self._bus.process.weather
        while True:
            consumer = self._bus.broker.streams[self._stream].consumers[str(self._config.durable_name)]
            if not (due := consumer.due()):
                consumer.news.clear()
                await consumer.news.wait()
                continue
            sequence = weather.rng.choice(due[:4]) if weather.strikes(weather.reorder) else due[0]
            delivery = consumer.waiting[sequence]
            delivery.count += 1
            consumer.later(sequence, 0.2 if weather.strikes(weather.redeliver) else consumer.ack_wait)
            stored = consumer.stream.messages[sequence - 1]
            message = Message(self._bus.process, consumer, stored, delivery.count)
            return [await self._bus.process.deal(message.itself, Lost, f"taking {stored.subject}")]


async def follow(bus: SimBus, types: Sequence[Any], handle: Callable[[Any, Any], Awaitable[None]]) -> None:
    """Stands in for `servicekit.replay.follow` since "start": in order, from the beginning, again after a loss."""
    kinds = {base_subject(kind): kind for kind in types}
    name, place = stream_of(filter_subject(types[0])), 0
    stream = bus.broker.streams[name]
    while True:
        if stream.is_lost:
            stream, place = bus.broker.streams[name], 0
        while place < len(stream.messages):
            stored = stream.messages[place]
            place += 1
            kind = next((kinds[tag] for tag in kinds if matches(f"{tag}.>", f"{stored.subject}.")), None)
            if kind is not None:
                message = Message(bus.process, Consumer(stream, [], 30.0), stored, 1)
                event, meta = read(kind, message)  # type: ignore[arg-type]  # it has what is read of a message
                with suppress_lost():
                    await bus.process.deal(lambda: None, Lost)
                await handle(event, meta)
        if not stream.is_lost:
            stream.news.clear()
            await stream.news.wait()


@contextmanager
def suppress_lost() -> Any:
    """A follower notices what was lost on its way, and reads it again."""
    try:
        yield
    except Lost:
        return


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
