"""Who reads the bus of the simulation: durable consumers, whose messages get lost and come again, and followers."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from nats.js.api import ConsumerConfig

from contracts.subjects import base_subject, filter_subject, stream_of
from servicekit.delivery import read

from .broker import Consumer, Lost, SimBus, Stored, matches
from .clock import Process


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
                event, meta = read(kind, message)  # it has what is read of a message
                with suppress(Lost):  # a follower notices what was lost on its way, and reads it again
                    await bus.process.deal(lambda: None, Lost)
                await handle(event, meta)
        if not stream.is_lost:
            stream.news.clear()
            await stream.news.wait()
