"""Messages that could not be handled, kept on `deadletter.<consumer>` with the reason in their headers, and read again."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from contracts import envelope
from contracts.errors import ErrorInfo, Permanent, Transient
from contracts.subjects import DEAD_LETTERS, dead_letter_subject, stream_of

REASON_CODE = "modelport-reason-code"
REASON = "modelport-reason"
SUBJECT = "modelport-subject"
STREAM = "modelport-stream"
SEQUENCE = "modelport-sequence"
DELIVERIES = "modelport-deliveries"
FAILED_AT = "modelport-failed-at"
_HEADER_LIMIT = 2000

_log = logging.getLogger(__name__)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that a consumer gave up; `sequence` is its place among the dead letters, `body` as it came."""

    sequence: int
    consumer: str
    code: str
    reason: str
    subject: str
    event_id: str
    deliveries: int
    failed_at: datetime
    traceparent: str
    body: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter and what it takes to deliver its message again: headers and body as they came."""

    letter: DeadLetter
    headers: dict[str, str]
    body: bytes


async def keep(jetstream: JetStreamContext, message: Msg, consumer: str, reason: ErrorInfo) -> None:
    """Keep the message with its reason; the same message is kept once."""
    metadata = message.metadata
    headers = {key: value for key, value in (message.headers or {}).items() if not key.lower().startswith("nats-")}
    headers |= {
        REASON_CODE: reason.code,
        REASON: _one_line(f"{reason.message} {reason.cause}".strip()),
        SUBJECT: message.subject,
        STREAM: metadata.stream,
        SEQUENCE: str(metadata.sequence.stream),
        DELIVERIES: str(metadata.num_delivered),
        FAILED_AT: datetime.now(UTC).isoformat(),
        envelope.MESSAGE_ID_HEADER: f"{consumer}/{metadata.stream}/{metadata.sequence.stream}",
    }
    await jetstream.publish(dead_letter_subject(consumer), message.data, headers=headers, timeout=5.0)
    _log.error("dead letter of %s: %s: %s", consumer, reason.code, reason.message, extra={"cause": reason.cause})


async def newest(jetstream: JetStreamContext, limit: int, before: int | None = None) -> list[DeadLetter]:
    """Up to `limit` dead letters, newest first, below the sequence `before`; Transient where the bus does not answer."""
    try:
        state = (await jetstream.stream_info(DEAD_LETTERS)).state
        last = min(state.last_seq, before - 1) if before is not None else state.last_seq
        found: list[DeadLetter] = []
        for sequence in range(last, state.first_seq - 1, -1):
            if len(found) == limit or not sequence:
                break
            try:
                found.append(_read(await jetstream.get_msg(DEAD_LETTERS, seq=sequence)))
            except nats.js.errors.NotFoundError:
                continue  # deleted by an operator
    except (nats.errors.Error, OSError) as error:
        raise Transient("unavailable", "The bus does not answer.") from error
    return found


async def find(jetstream: JetStreamContext, sequence: int) -> Kept:
    """One dead letter; Permanent `not_found`, Transient where the bus does not answer."""
    try:
        message = await jetstream.get_msg(DEAD_LETTERS, seq=sequence)
    except nats.js.errors.NotFoundError as error:
        raise Permanent("not_found", f"There is no dead letter {sequence}.") from error
    except (nats.errors.Error, OSError) as error:
        raise Transient("unavailable", "The bus does not answer.") from error
    headers = {key: value for key, value in (message.headers or {}).items() if not key.startswith("modelport-")}
    headers.pop(envelope.MESSAGE_ID_HEADER, None)
    return Kept(letter=_read(message), headers=headers, body=message.data or b"")


async def redeliver(jetstream: JetStreamContext, kept: Kept) -> None:
    """Publish the message where it came from, with its own headers, once however often it is asked for."""
    letter = kept.letter
    headers = kept.headers | {envelope.MESSAGE_ID_HEADER: f"dead-letter/{letter.sequence}"}
    try:
        await jetstream.publish(
            letter.subject, kept.body, stream=stream_of(letter.subject), headers=headers, timeout=5.0
        )
    except (nats.errors.Error, OSError) as error:
        raise Transient("unavailable", "The bus does not answer.") from error


async def remove(jetstream: JetStreamContext, sequence: int) -> None:
    """Take a dead letter out of the list; one that is gone already is fine."""
    try:
        await jetstream.delete_msg(DEAD_LETTERS, sequence)
    except (nats.js.errors.NotFoundError, nats.js.errors.ServerError) as error:
        _log.info("dead letter %d is gone already: %s", sequence, error)
    except (nats.errors.Error, OSError) as error:
        raise Transient("unavailable", "The bus does not answer.") from error


def _read(message: RawStreamMsg) -> DeadLetter:
    headers: Mapping[str, str] = message.headers or {}
    return DeadLetter(
        sequence=message.seq or 0,
        consumer=(message.subject or "").partition(".")[2],
        code=headers.get(REASON_CODE, ""),
        reason=headers.get(REASON, ""),
        subject=headers.get(SUBJECT, ""),
        event_id=headers.get("ce-id", ""),
        deliveries=int(headers.get(DELIVERIES, "0")),
        failed_at=datetime.fromisoformat(headers.get(FAILED_AT) or "1970-01-01T00:00:00+00:00"),
        traceparent=headers.get("traceparent", ""),
        body=(message.data or b"").decode(errors="replace"),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_HEADER_LIMIT]
