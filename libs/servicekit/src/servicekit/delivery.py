"""What happens to one received message: decoded, handled in a span, and acknowledged, tried again or dead-lettered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar, cast
from uuid import UUID, uuid4

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from contracts import envelope
from contracts.envelope import EventMeta
from contracts.errors import ErrorInfo, ModelportError, Permanent, Transient, is_full
from contracts.events import Event
from contracts.subjects import filter_subject
from servicekit import dead_letters, tasks

E = TypeVar("E", bound=Event)
Handler = Callable[[E, EventMeta], Awaitable[None]]

BACKOFF_S = (0.5, 2.0, 8.0, 30.0)
"""Waits before the next deliveries of a message that failed; the last one repeats."""

OUTAGE_FACTOR = 4
"""While another server is away (`unavailable`) this many times more deliveries are allowed: some ten minutes."""

_log = logging.getLogger(__name__)


def read(event_type: type[E], message: Msg) -> tuple[E, EventMeta]:
    """Decode headers and body; Permanent `undecodable_event` says what is wrong."""
    try:
        meta = envelope.open_headers(message.headers, message.subject)
    except ValueError as error:
        raise Permanent("undecodable_event", f"{event_type.__name__}: header ce-time: {error}") from error
    if not meta.id:
        meta = msgspec.structs.replace(meta, id=f"{message.metadata.stream}-{message.metadata.sequence.stream}")
    return envelope.open_body(event_type, message.data), meta


def explain(error: BaseException) -> ErrorInfo:
    """The record of any error; an error of ours keeps its code, any other is `internal` with its cause."""
    if is_full(error):
        return ErrorInfo.of(Transient("storage_full", "There is no space left on the disk."), cause=str(error))
    if isinstance(error, ModelportError):
        return ErrorInfo.of(error)
    cause = f"{type(error).__name__}: {error}"
    return ErrorInfo.of(Transient("internal", "the handler failed unexpectedly"), cause=cause)


def listens_to(event_type: type[E], routing: str | None = None) -> str:
    """The subject that a consumer of this event filters on."""
    return filter_subject(cast(type[Event], event_type), routing)


def choose_id(event: Event, subject_id: UUID | str, event_id: str | None, sequence: int | str | None) -> str:
    """The id given, else the one that every retry reproduces from `sequence`, else a new one."""
    if event_id is not None:
        return event_id
    return str(uuid4()) if sequence is None else envelope.event_id(type(event), subject_id, sequence)


async def give_up(jetstream: JetStreamContext, message: Msg, consumer: str, reason: ErrorInfo) -> None:
    """Dead-letter and end the deliveries."""
    await dead_letters.keep(jetstream, message, consumer, reason)
    await message.term()


def is_outage(error: BaseException) -> bool:
    """Whether a server that the handler needs is away, or its disk full, which says nothing about the message."""
    return is_full(error) or (isinstance(error, Transient) and error.code in ("unavailable", "storage_full"))


def backoff(failures: int, waits: Sequence[float] = BACKOFF_S) -> float:
    """Seconds to wait after the given number of failures (from 1)."""
    return waits[min(max(failures, 1), len(waits)) - 1]


async def handle_once(
    jetstream: JetStreamContext,
    message: Msg,
    consumer: str,
    run: Callable[[], Awaitable[None]],
    *,
    max_deliver: int,
    ack_wait_s: float,
) -> None:
    """Run a short reaction and settle its message, which stays ours while it runs.

    Permanent errors and the `max_deliver`-th failure end in the dead letters (an outage is waited for longer); anything
    else is redelivered after a growing wait. Where the bus cannot be reached the message is redelivered later.
    """
    deliveries = message.metadata.num_delivered
    pulse = asyncio.create_task(_beat(message, ack_wait_s / 3))
    try:
        try:
            if deliveries > max_deliver * OUTAGE_FACTOR:
                raise Permanent("internal", f"every one of {deliveries - 1} deliveries ended without an answer")
            await run()
        except Exception as error:
            limit = max_deliver * (OUTAGE_FACTOR if is_outage(error) else 1)
            if isinstance(error, Permanent) or deliveries >= limit:
                await give_up(jetstream, message, consumer, explain(error))
            else:
                _log.warning("%s: delivery %d failed: %s", consumer, deliveries, error, exc_info=_unknown(error))
                await message.nak(delay=backoff(deliveries))
        else:
            await message.ack()
    except (nats.errors.Error, OSError) as error:
        _log.warning("%s: the message is not settled: %s", consumer, error or type(error).__name__)
    finally:
        await tasks.end(pulse)


async def _beat(message: Msg, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        with suppress(nats.errors.Error, OSError):
            await message.in_progress()


def _unknown(error: Exception) -> bool:
    return not isinstance(error, ModelportError)
