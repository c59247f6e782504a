"""Streams, consumers and buckets declared *and updated* with nats-py, and a pull that heals instead of spinning.

FastStream's pull loop asks again at once when its consumer is gone, and never updates a durable's configuration; both
`servicekit.bus` (which hands `PullConsumer` to FastStream) and `servicekit.jobs` therefore fetch through this module.
"""

import asyncio
import logging
import time
from datetime import datetime, timedelta

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.kv import KeyValue

from contracts.subjects import STREAMS, Stream

DUPLICATE_WINDOW_S = 120.0
_STREAM_EXISTS = 10058
_HEAL_S = 0.5
_LOOK_S = 10.0

_log = logging.getLogger(__name__)


async def declare_streams(jetstream: JetStreamContext) -> None:
    """Create or update every stream of the contracts; how often an operator has it replicated stays."""
    for stream in STREAMS:
        config = _stream_config(stream)
        try:
            await jetstream.add_stream(config)
        except nats.js.errors.BadRequestError as error:
            if error.err_code != _STREAM_EXISTS:
                raise
            known = (await jetstream.stream_info(stream.name)).config
            await jetstream.update_stream(config.evolve(num_replicas=known.num_replicas))


def _stream_config(stream: Stream) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        description=stream.description,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=stream.max_age.total_seconds() if stream.max_age else 0,
        duplicate_window=DUPLICATE_WINDOW_S,
        allow_direct=True,
    )


async def declare_bucket(
    jetstream: JetStreamContext, bucket: str, *, ttl: timedelta | float | None = None, memory: bool = False
) -> KeyValue:
    """The key-value bucket, made where missing and its time to live updated; one revision is kept per key.

    `ttl` None leaves that of an existing bucket as it is; a new one keeps its keys for ever.
    """
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    storage = StorageType.MEMORY if memory else StorageType.FILE
    try:
        return await jetstream.create_key_value(
            KeyValueConfig(bucket=bucket, ttl=seconds, storage=storage, history=1, direct=True)
        )
    except nats.js.errors.BadRequestError as error:
        if error.err_code != _STREAM_EXISTS:
            raise
    info = await jetstream.stream_info(f"KV_{bucket}")
    if seconds is not None and (info.config.max_age or 0) != seconds:
        window = min(DUPLICATE_WINDOW_S, seconds)
        await jetstream.update_stream(info.config.evolve(max_age=seconds, duplicate_window=window))
    return await jetstream.key_value(bucket)


def durable_config(durable: str, subjects: list[str], *, ack_wait_s: float, max_ack_pending: int) -> ConsumerConfig:
    """A durable pull consumer that never gives up by itself.

    Deliveries are bounded by the reader, which can tell why it gave up; the server would drop a message in silence.
    """
    return ConsumerConfig(
        durable_name=durable,
        filter_subjects=subjects,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,
        max_ack_pending=max_ack_pending,
    )


class PullConsumer:
    """One durable consumer and one pull subscription on it.

    A consumer that vanished is made again behind the last message known to be settled, so that nothing is lost and
    the stream's whole past is not replayed.
    """

    def __init__(self, jetstream: JetStreamContext, stream: str, config: ConsumerConfig) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._config = config
        self._settled = 0
        self._made: datetime | None = None
        self._looked_at = 0.0
        self._told_at = 0.0
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def declare(self) -> ConsumerInfo:
        """Create the consumer or update it to the configuration wanted; where it started from is kept."""
        stream = await self._jetstream.stream_info(self._stream)
        if self._made != stream.created:
            self._made, self._settled = stream.created, 0
        try:
            known = (await self._jetstream.consumer_info(self._stream, str(self._config.durable_name))).config
            start = {"deliver_policy": known.deliver_policy, "opt_start_seq": known.opt_start_seq}
        except nats.js.errors.NotFoundError:
            start = self._start(stream.state.last_seq)
        info = await self._jetstream.add_consumer(self._stream, self._config.evolve(**start))
        self._remember(info)
        return info

    async def bind(self, subscription: JetStreamContext.PullSubscription | None = None) -> None:
        """Take over `subscription` or open one."""
        self._subscription = subscription or await self._jetstream.pull_subscribe_bind(
            consumer=str(self._config.durable_name), stream=self._stream
        )

    async def fetch(self, batch: int = 1, timeout: float | None = 1.0) -> list[Msg]:  # noqa: ASYNC109  (nats-py calls it so)
        """Like nats-py's fetch: raises nats TimeoutError without messages, whatever the cause, and never at once."""
        if self._subscription is None:
            raise nats.errors.TimeoutError
        started = time.monotonic()
        try:
            if started - self._looked_at > _LOOK_S:
                self._remember(await self._jetstream.consumer_info(self._stream, str(self._config.durable_name)))
            return list(await self._subscription.fetch(batch=batch, timeout=timeout))
        except TimeoutError as error:
            if time.monotonic() - started < (timeout or 1.0) / 2:
                await self._heal("no answer")
            raise nats.errors.TimeoutError from error
        except Exception as error:
            await self._heal(str(error) or type(error).__name__)
            raise nats.errors.TimeoutError from error

    async def unsubscribe(self) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    async def _heal(self, reason: str) -> None:
        await asyncio.sleep(_HEAL_S)
        try:
            try:
                await self.declare()
            except nats.js.errors.NotFoundError:
                _log.warning("stream %s is gone: declaring it again", self._stream)
                await declare_streams(self._jetstream)
        except (nats.errors.Error, OSError) as error:
            reason = f"{reason}; {error or type(error).__name__}"
        if time.monotonic() - self._told_at > 5:
            _log.warning("consumer %s: %s", self._config.durable_name, reason)
            self._told_at = time.monotonic()

    def _remember(self, info: ConsumerInfo) -> None:
        self._looked_at = time.monotonic()
        if info.ack_floor is not None:
            self._settled = max(self._settled, info.ack_floor.stream_seq)

    def _start(self, last_seq: int) -> dict[str, object]:
        """Where a new consumer starts: after what was settled, or at the beginning (also of a stream made anew)."""
        if 0 < self._settled <= last_seq:
            return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": self._settled + 1}
        self._settled = 0
        return {"deliver_policy": DeliverPolicy.ALL, "opt_start_seq": None}
