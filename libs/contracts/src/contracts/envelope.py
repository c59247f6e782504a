"""CloudEvents 1.0 in binary mode over NATS: attributes in `ce-*` headers, the bare JSON event in the body.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import Struct

from contracts.errors import Permanent
from contracts.events import Event
from contracts.subjects import base_subject, subject

E = TypeVar("E", bound=Struct)
MESSAGE_ID_HEADER = "Nats-Msg-Id"
TYPE_PREFIX = "vision."
_NAMESPACE = uuid5(NAMESPACE_URL, "https://modelport.dev/events")


class EventMeta(Struct, frozen=True, kw_only=True):
    """The attributes of a received event."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    traceparent: str = ""


class Envelope(Struct, frozen=True, kw_only=True):
    """An event ready for the wire or the outbox."""

    nats_subject: str
    event_id: str
    headers: dict[str, str]
    body: bytes


def event_id(event_type: type[Event], subject_id: UUID | str, sequence: int | str = 0) -> str:
    """The id that every retry of the same fact reproduces; `sequence` is its attempt, generation or the like."""
    return str(uuid5(_NAMESPACE, f"{base_subject(event_type)}/{subject_id}/{sequence}"))


def seal(
    event: Event, *, event_id: str, source: str, subject_id: UUID | str, trace_headers: Mapping[str, str]
) -> Envelope:
    """Wrap an event; `subject_id` is the job or deployment it speaks of, `trace_headers` the W3C trace context."""
    headers = {
        MESSAGE_ID_HEADER: event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": f"/modelport/{source}",
        "ce-type": TYPE_PREFIX + base_subject(type(event)),
        "ce-subject": str(subject_id),
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
        **trace_headers,
    }
    return Envelope(nats_subject=subject(event), event_id=event_id, headers=headers, body=msgspec.json.encode(event))


def open_body(event_type: type[E], body: bytes) -> E:
    """Decode a body; raises Permanent("undecodable_event") with the path of the wrong field."""
    try:
        return msgspec.json.decode(body, type=event_type)
    except msgspec.MsgspecError as error:
        raise Permanent("undecodable_event", f"{event_type.__name__}: {error}") from error


def open_headers(headers: Mapping[str, str] | None, nats_subject: str) -> EventMeta:
    """Read the attributes; a foreign publisher may leave out all but `ce-id`, which then is its `Nats-Msg-Id`."""
    given = {k.lower(): v for k, v in (headers or {}).items()}
    identity = given.get("ce-id") or given.get(MESSAGE_ID_HEADER.lower(), "")
    time = given.get("ce-time")
    return EventMeta(
        id=identity,
        source=given.get("ce-source", ""),
        type=given.get("ce-type", TYPE_PREFIX + nats_subject),
        subject=given.get("ce-subject", ""),
        time=datetime.fromisoformat(time) if time else datetime.now(UTC),
        traceparent=given.get("traceparent", ""),
    )
