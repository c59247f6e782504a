"""Follows facts in order: first what happened, then what happens; for routes and cancellations held in memory."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts.envelope import EventMeta
from contracts.errors import Permanent
from contracts.subjects import base_subject, filter_subject, stream_of
from servicekit import tasks
from servicekit.bus import Bus
from servicekit.delivery import read

Since = timedelta | Literal["start"] | None

_BATCH = 256
_FETCH_S = 1.0
_RETRY_S = 0.5
_INACTIVE_S = 30.0
_log = logging.getLogger(__name__)


class Follower:
    """Ephemeral ordered consumers, one per stream; made again after the last message seen when they are lost."""

    def __init__(
        self,
        bus: Bus,
        event_types: Sequence[type[Any]],
        handler: Callable[[Any, EventMeta], Awaitable[None]],
        since: Since,
    ) -> None:
        self._bus = bus
        self._handler = handler
        self._since = since
        self._types = {base_subject(event_type): event_type for event_type in event_types}
        streams: dict[str, list[str]] = defaultdict(list)
        for event_type in event_types:
            subject = filter_subject(event_type)
            streams[stream_of(subject)].append(subject)
        self._subjects = dict(streams)
        self._caught_up = {stream: asyncio.Event() for stream in streams}
        self._handled = dict.fromkeys(streams, 0)
        self._moved = asyncio.Condition()
        self._made: dict[str, datetime | None] = dict.fromkeys(streams)
        self._current_at = dict.fromkeys(streams, -math.inf)
        self._tasks = [asyncio.create_task(self._follow(stream, subjects)) for stream, subjects in streams.items()]

    async def caught_up(self) -> None:
        """Returns once everything stored when the follower first connected has been handled."""
        for event in self._caught_up.values():
            await event.wait()

    async def heard_all(self) -> None:
        """Returns once everything has been handled that was stored when this was asked."""
        for stream, subjects in self._subjects.items():
            last = max([await self._last(stream, subject) for subject in subjects])
            async with self._moved:
                while self._handled[stream] < last:
                    await self._moved.wait()

    async def _last(self, stream: str, subject: str) -> int:
        try:
            return (await self._bus.jetstream.get_last_msg(stream, subject)).seq or 0
        except nats.js.errors.NotFoundError:
            return 0

    @property
    def is_caught_up(self) -> bool:
        return all(event.is_set() for event in self._caught_up.values())

    @property
    def silent_s(self) -> float:
        """How long ago it was last certain that everything stored has been handled; infinite before the first time."""
        return time.monotonic() - min(self._current_at.values())

    async def stop(self) -> None:
        await tasks.end(*self._tasks)

    async def _follow(self, stream: str, subjects: list[str]) -> None:
        start = self._first()
        while True:
            try:
                start = await self._session(stream, subjects, start)
            except nats.js.errors.NotFoundError:
                start = self._first()
                _log.warning("following %s: the stream is gone", stream)
            except Exception as error:
                _log.warning("following %s: %s", stream, str(error) or type(error).__name__)
            await asyncio.sleep(_RETRY_S)

    async def _session(self, stream: str, subjects: list[str], start: dict[str, Any]) -> dict[str, Any]:
        """Runs until the consumer or a message of it is lost; answers where the next one starts.

        Nothing is acknowledged, so what was on its way when the connection broke is not sent again: consumers count what
        they deliver, and a number that we have not seen means a loss.
        """
        jetstream = self._bus.jetstream
        config = ConsumerConfig(
            filter_subjects=subjects,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_INACTIVE_S,
            mem_storage=True,
            **await self._still_valid(jetstream, stream, start),
        )
        asked = time.monotonic()
        info = await jetstream.add_consumer(stream, config)
        if info.delivered:
            start = _after(info.delivered.stream_seq)
            await self._has_handled(stream, info.delivered.stream_seq)
        pending, seen = info.num_pending or 0, 0
        if not pending:
            self._is_current(stream, asked)
        subscription = await jetstream.pull_subscribe_bind(consumer=info.name, stream=stream)
        try:
            while True:
                asked = time.monotonic()
                messages = await self._fetch(subscription, pending)
                if not messages:
                    asked = time.monotonic()
                    sent, pending = await _delivered(subscription)
                    if sent > seen:
                        return start
                for message in messages:
                    seen += 1
                    if message.metadata.sequence.consumer != seen:
                        return start
                    await self._hand_over(message)
                    await self._has_handled(stream, message.metadata.sequence.stream)
                    start = _after(message.metadata.sequence.stream)
                    pending = message.metadata.num_pending
                if not pending:
                    self._is_current(stream, asked)
        except (nats.errors.Error, OSError) as error:
            _log.info("following %s again: %s", stream, error or type(error).__name__)
            return start
        finally:
            with suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _has_handled(self, stream: str, sequence: int) -> None:
        async with self._moved:
            self._handled[stream] = sequence
            self._moved.notify_all()

    def _is_current(self, stream: str, moment: float) -> None:
        self._caught_up[stream].set()
        self._current_at[stream] = moment

    async def _fetch(self, subscription: JetStreamContext.PullSubscription, pending: int) -> list[Msg]:
        """What is stored comes in batches, what is new one by one; empty after a quiet second."""
        try:
            return list(await subscription.fetch(max(1, min(pending, _BATCH)), timeout=_FETCH_S))
        except TimeoutError:
            return []

    async def _hand_over(self, message: Msg) -> None:
        """A fact that cannot be read or handled is told and passed by: one must not hide the rest."""
        event_type = next((kind for tag, kind in self._types.items() if _is_below(message.subject, tag)), None)
        if event_type is None:
            return
        try:
            event, meta = read(event_type, message)
            await self._handler(event, meta)
        except Permanent as error:
            _log.error("following %s: %s", message.subject, error)
        except Exception:
            _log.exception("following %s: the handler failed", message.subject)

    async def _still_valid(self, jetstream: JetStreamContext, stream: str, start: dict[str, Any]) -> dict[str, Any]:
        """A stream that was made anew counts from one again, and all that it holds is news."""
        info = await jetstream.stream_info(stream)
        known, self._made[stream] = self._made[stream], info.created
        if known not in (None, info.created):
            return {"deliver_policy": DeliverPolicy.ALL}
        if info.state.last_seq < start.get("opt_start_seq", 0) - 1:
            return self._first()
        return start

    def _first(self) -> dict[str, Any]:
        if self._since is None:
            return {"deliver_policy": DeliverPolicy.NEW}
        if isinstance(self._since, timedelta):
            moment = datetime.now(UTC) - self._since
            return {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": moment}
        return {"deliver_policy": DeliverPolicy.ALL}


def follow(
    bus: Bus,
    event_types: Sequence[type[Any]],
    handler: Callable[[Any, EventMeta], Awaitable[None]],
    *,
    since: Since,
) -> Follower:
    """Start to follow on the connected bus: from the first stored fact, from a time ago, or only what is new."""
    return Follower(bus, event_types, handler, since)


async def _delivered(subscription: JetStreamContext.PullSubscription) -> tuple[int, int]:
    """How many messages the consumer has sent, and how many more there are."""
    info = await subscription.consumer_info()
    return info.delivered.consumer_seq if info.delivered else 0, info.num_pending or 0


def _after(sequence: int) -> dict[str, Any]:
    return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": sequence + 1}


def _is_below(subject: str, tag: str) -> bool:
    return subject == tag or subject.startswith(tag + ".")
