"""The bus of a service: typed publishing with an awaited ack, and short reactions (the only user of FastStream).

Reactions run on FastStream pull subscribers with durable consumers. Their pull loop has faults (it spins when a consumer
is deleted, and keeps an old configuration), so streams and consumers are declared with nats-py and FastStream fetches
through `consumers.PullConsumer`, which heals. Pull beats push here: one unsettled message at most dies with a process,
so a killed replica delays one fact, not a buffer of them, and a frozen replica is sent nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from contracts import envelope
from contracts.errors import Permanent, Transient
from contracts.events import Event
from contracts.subjects import UNTRACED, stream_of
from servicekit.connections import OPTIONS, close, open_client, quietly
from servicekit.consumers import PullConsumer, declare_bucket, declare_streams, durable_config
from servicekit.delivery import Handler, choose_id, handle_once, listens_to, read
from servicekit.patience import START_PATIENCE_S, patiently
from servicekit.telemetry import Telemetry, extract, inject

if TYPE_CHECKING:
    from faststream.nats import NatsBroker, NatsMessage

E = TypeVar("E", bound=Event)

MAX_DELIVER = 5
ACK_WAIT_S = 30.0
_PUBLISH_TRIES = 4
_PUBLISH_TIMEOUT_S = 5.0
_NOT_READY = (OSError, nats.errors.NoRespondersError, nats.js.errors.ServiceUnavailableError)


class _Subscription(msgspec.Struct, frozen=True, kw_only=True):
    durable: str
    event_type: type[msgspec.Struct]
    subject: str
    stream: str
    handle: Callable[[Msg], Awaitable[None]]
    ack_wait_s: float


class Bus:
    """One connection for publishing, KV and long jobs, and a second one under FastStream for reactions.

    `subscribe` before `start`; `connect` alone gives `.nats`, `.jetstream` and `kv` without starting reactions.
    """

    def __init__(self, nats_url: str, service: str, telemetry: Telemetry) -> None:
        self._url = nats_url
        self._service = service
        self.telemetry = telemetry
        self._nats: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._broker: NatsBroker | None = None
        self._subscriptions: list[_Subscription] = []

    @property
    def service(self) -> str:
        return self._service

    @property
    def nats(self) -> Client:
        """The nats-py client; RuntimeError before `connect`."""
        if self._nats is None:
            raise RuntimeError("the bus is not connected: await bus.start() first")
        return self._nats

    @property
    def jetstream(self) -> JetStreamContext:
        if self._jetstream is None:
            raise RuntimeError("the bus is not connected: await bus.start() first")
        return self._jetstream

    @property
    def is_connected(self) -> bool:
        return self._nats is not None and self._nats.is_connected

    async def connect(self) -> None:
        """Connect and declare the streams, waiting up to a minute for each; Transient when the server stays away."""
        if self._nats is not None:
            return
        client = await open_client(self._url, self._service)
        self._nats, self._jetstream = client, client.jetstream(timeout=_PUBLISH_TIMEOUT_S)
        await patiently(self.declare, "JetStream", _NOT_READY, START_PATIENCE_S)

    async def declare(self) -> None:
        """Create or update all streams of the contracts."""
        await declare_streams(self.jetstream)

    async def start(self) -> None:
        """Connect, declare, then let the reactions begin."""
        await self.connect()
        if self._subscriptions and self._broker is None:
            await self._start_reactions()

    async def stop(self) -> None:
        """Let running reactions finish, then close both connections; never raises for a server that is away."""
        clients = [self._nats] if self._nats is not None else []
        if self._broker is not None:
            clients.append(await self._broker.connect())
            with quietly("reactions"):
                await self._broker.stop()
        for client in clients:
            await close(client)
        self._broker = self._nats = self._jetstream = None

    async def check(self) -> None:
        """For /readyz: Transient while the server cannot be reached."""
        try:
            await self.nats.flush(timeout=2)
        except (nats.errors.Error, OSError, RuntimeError) as error:
            raise Transient("unavailable", "NATS does not answer") from error

    async def publish(
        self,
        event: Event,
        *,
        subject_id: UUID | str,
        event_id: str | None = None,
        sequence: int | str | None = None,
        context: Context | None = None,
    ) -> str:
        """Publish and wait for JetStream's ack; returns the event's id.

        The id is `event_id`, or derived from (type, subject_id, `sequence`) so that retries reproduce it, or random.
        Transient `unavailable` when no ack came; publishing the same id again is safe.
        """
        identity = choose_id(event, subject_id, event_id, sequence)
        with self._publishing(event, context) as trace_headers:
            sealed = envelope.seal(
                event, event_id=identity, source=self._service, subject_id=subject_id, trace_headers=trace_headers
            )
            await self._send(sealed)
        return identity

    @contextmanager
    def _publishing(self, event: Event, context: Context | None) -> Iterator[dict[str, str]]:
        """The trace context of a message, inside a PRODUCER span unless the event is one that makes none."""
        headers: dict[str, str] = {}
        if type(event) in UNTRACED:
            inject(headers, context)
            yield headers
            return
        with self.telemetry.span(f"publish {type(event).__name__}", context=context, kind=SpanKind.PRODUCER):
            inject(headers)
            yield headers

    async def _send(self, sealed: envelope.Envelope) -> None:
        stream = stream_of(sealed.nats_subject)
        for attempt in range(1, _PUBLISH_TRIES + 1):
            try:
                await self.jetstream.publish(
                    sealed.nats_subject, sealed.body, stream=stream, headers=sealed.headers, timeout=_PUBLISH_TIMEOUT_S
                )
            except nats.errors.MaxPayloadError as error:
                raise Permanent("payload_too_large", f"an event of {len(sealed.body)} bytes is too large") from error
            except (nats.errors.Error, OSError) as error:
                if attempt == _PUBLISH_TRIES:
                    raise Transient("unavailable", f"no ack for {sealed.nats_subject}") from error
                await asyncio.sleep(0.25 * attempt)
            else:
                return

    def subscribe(
        self,
        event_type: type[E],
        *,
        handler: Handler[E],
        durable: str,
        routing: str | None = None,
        max_deliver: int = MAX_DELIVER,
        ack_wait_s: float = ACK_WAIT_S,
    ) -> None:
        """Register a short reaction, one durable per (service, subject); call it before `start`.

        The handler runs inside a CONSUMER span (none for `UNTRACED` events), one message at a time. `Permanent` and undecodable bodies go to the
        dead letters at once, other errors after `max_deliver` deliveries.
        """
        if self._broker is not None:
            raise RuntimeError("subscribe before start")
        subject = listens_to(event_type, routing)

        async def react(message: Msg) -> None:
            async def run() -> None:
                event, meta = read(event_type, message)
                if event_type in UNTRACED:
                    await handler(event, meta)
                else:
                    await self.in_span(durable, message, lambda: handler(event, meta))

            await handle_once(self.jetstream, message, durable, run, max_deliver=max_deliver, ack_wait_s=ack_wait_s)

        self._subscriptions.append(
            _Subscription(
                durable=durable,
                event_type=event_type,
                subject=subject,
                stream=stream_of(subject),
                handle=react,
                ack_wait_s=ack_wait_s,
            )
        )

    async def in_span(self, consumer: str, message: Msg, run: Callable[[], Awaitable[None]]) -> None:
        """Run inside a CONSUMER span that continues the message's trace."""
        attributes = {
            "messaging.system": "nats",
            "messaging.destination.name": message.subject,
            "messaging.consumer.group.name": consumer,
            "messaging.nats.deliveries": message.metadata.num_delivered,
        }
        context = extract(message.headers or {})
        with self.telemetry.span(f"process {consumer}", context=context, kind=SpanKind.CONSUMER, **attributes):
            await run()

    async def kv(self, bucket: str, *, ttl: timedelta | float | None = None, memory: bool = False) -> KeyValue:
        """The key-value bucket, created where missing; `ttl` in seconds or a timedelta, None: as it is."""
        return await declare_bucket(self.jetstream, bucket, ttl=ttl, memory=memory)

    async def _start_reactions(self) -> None:
        from faststream import AckPolicy
        from faststream.nats import JStream, NatsBroker, PullSub

        broker = NatsBroker(
            self._url,
            name=f"{self._service}-reactions",
            **OPTIONS,
            graceful_timeout=8.0,
            drain_timeout=3,
            apply_types=False,
            logger=None,
        )
        guarded = []
        for item in self._subscriptions:
            config = durable_config(item.durable, [item.subject], ack_wait_s=item.ack_wait_s, max_ack_pending=256)
            consumer = PullConsumer(self.jetstream, item.stream, config)
            await consumer.declare()
            subscriber = broker.subscriber(
                item.subject,
                durable=item.durable,
                stream=JStream(item.stream, declare=False),
                pull_sub=PullSub(batch_size=1, timeout=1.0),
                ack_policy=AckPolicy.MANUAL,
                decoder=_whole,
            )
            subscriber(_reaction(item.handle))
            guarded.append((subscriber, consumer))
        await broker.start()
        for subscriber, consumer in guarded:
            await consumer.bind(subscriber.subscription)
            subscriber.subscription = consumer
        self._broker = broker


def _reaction(handle: Callable[[Msg], Awaitable[None]]) -> Callable[["NatsMessage"], Awaitable[None]]:
    async def on_message(message: "NatsMessage") -> None:
        await handle(message.raw_message)

    return on_message


async def _whole(message: "NatsMessage") -> "NatsMessage":
    """FastStream's decoder: nothing is decoded here, so that a bad body reaches the dead letters with its reason."""
    return message
