"""The bus as an AsyncAPI 3 document, made from the event structs and the table of streams."""

from typing import Final

from msgspec import json

from contracts.envelope import TYPE_PREFIX
from contracts.events import Event, TrainingCompletedV1
from contracts.model_package import any_json
from contracts.subjects import EVENTS, ROUTED_BY, STREAMS, base_subject, stream_of
from contracts.vocabulary import DeploymentType, ExportRoute

Json = dict[str, object]

VERSION: Final = "3.0.0"
SCHEMAS: Final = "#/components/schemas/{name}"
ROUTES: Final[dict[str, tuple[str, ...]]] = {
    "export_route": tuple(ExportRoute),
    "deployment_type": tuple(DeploymentType),
}
RECEIVED: Final[tuple[type[Event], ...]] = (TrainingCompletedV1,)
"""Events that other services of the platform publish; Modelport says all the others."""

HEADERS: Final[Json] = {
    "type": "object",
    "description": "CloudEvents 1.0, binary mode, and the W3C trace context.",
    "required": ["ce-id", "ce-type"],
    "properties": {
        "Nats-Msg-Id": {"type": "string", "description": "Same as ce-id: the stream drops a repetition."},
        "ce-specversion": {"const": "1.0"},
        "ce-id": {"type": "string", "description": "Every retry of the same fact has the same id."},
        "ce-source": {"type": "string", "description": "/modelport/<service>"},
        "ce-type": {"type": "string", "description": f"{TYPE_PREFIX}<subject without routing>"},
        "ce-subject": {"type": "string", "description": "Id of the training, job or deployment spoken of."},
        "ce-time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string"},
    },
}


def document() -> Json:
    """The whole document; the same contracts give the same bytes."""
    _, schemas = json.schema_components(EVENTS, schema_hook=any_json, ref_template=SCHEMAS)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Modelport events",
            "version": "1",
            "description": "Facts and requests on NATS JetStream. A breaking change is a new message on a new subject.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {event.__name__: _channel(event) for event in EVENTS},
        "operations": {event.__name__: _operation(event) for event in EVENTS},
        "components": {
            "messages": {event.__name__: _message(event) for event in EVENTS},
            "schemas": {**schemas, "CloudEventHeaders": HEADERS},
        },
    }


def _channel(event: type[Event]) -> Json:
    subject, routed_by = base_subject(event), ROUTED_BY.get(event)
    stream = next(stream for stream in STREAMS if stream.name == stream_of(subject))
    channel: Json = {
        "address": f"{subject}.{{{routed_by}}}" if routed_by else subject,
        "description": f"JetStream stream {stream.name}: {stream.description}",
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
    }
    if routed_by:
        channel["parameters"] = {routed_by: {"enum": list(ROUTES[routed_by])}}
    return channel


def _operation(event: type[Event]) -> Json:
    channel = f"#/channels/{event.__name__}"
    return {
        "action": "receive" if event in RECEIVED else "send",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{event.__name__}"}],
    }


def _message(event: type[Event]) -> Json:
    return {
        "name": base_subject(event),
        "title": event.__name__,
        "summary": (event.__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "headers": {"$ref": SCHEMAS.format(name="CloudEventHeaders")},
        "payload": {"$ref": SCHEMAS.format(name=event.__name__)},
    }
