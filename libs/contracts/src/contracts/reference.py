"""docs/events.md: every event with its subject, stream and fields, for people."""

import re
import types
from collections.abc import Iterator
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct, json, structs

from contracts.events import Event
from contracts.model_package import ModelMetadata
from contracts.subjects import EVENTS, ROUTED_BY, STREAMS, base_subject, stream_of

DOCUMENTED_ELSEWHERE: Final[tuple[type[Struct], ...]] = (ModelMetadata,)
BLANKS: Final = re.compile(r"\n{3,}")
HEAD: Final = """# Events

Written by `make gen` from `libs/contracts`; do not edit. The same in machine-readable form: [asyncapi.json](asyncapi.json).

Every event is one message on NATS JetStream: CloudEvents 1.0 in binary mode (`ce-*` headers and `traceparent`), the bare JSON event in the
body, `Nats-Msg-Id` equal to `ce-id`. A subject is `<context>.<entity>.<fact>.v<N>`, followed by a routing word where the table shows one.
Requests refuse unknown fields, facts tolerate them. New fields have defaults; a breaking change is a new event on a new subject.
"""

FOREIGN: Final = """
## Publishing from elsewhere

A platform service needs none of our libraries: a bare body on the subject will do. Every header may be left out (`ce-id` or `Nats-Msg-Id` is worth
giving: it makes a repetition harmless; `traceparent` continues the sender's trace), and so may the body's `type`, which the subject says already.

```sh
nats pub training.jobs.completed.v1 '{"training_job_id": "…", "user_id": "…", "framework": "timm", "task_type": "image_classification",
  "model_name": "resnet18", "checkpoint_path": "s3://vision-platform/…/best.pt", "export": {"export_format": "onnx"}}'
```

`user_id` is the id of a user of the gateway (`modelport users list`), `checkpoint_path` an object of its bucket.

## Dead letters

What cannot be handled (a body that is no event, a training of an unknown user) is kept for 90 days on `deadletter.<consumer>`, as it came, with
`modelport-reason-code` and `modelport-reason` in its headers beside `modelport-subject`, `-stream`, `-sequence`, `-deliveries` and `-failed-at`.
An administrator reads them with `GET /api/v1/dead-letters`, newest first, or with `nats stream view DEADLETTER`. Once the cause is gone,
publish the body on its subject again.
"""


def render() -> str:
    """The whole page; the same contracts give the same bytes."""
    parts = [HEAD, "## Streams\n", *_streams(), "\n## Overview\n", *_overview()]
    for event in EVENTS:
        parts += [f"\n## {event.__name__}\n", _prose(event), "", f"`{_address(event)}`\n", *_fields(event)]
    parts.append("\n## Shared structures\n")
    for struct in _shared():
        parts += [f"\n### {struct.__name__}\n", _prose(struct), "", *_fields(struct)]
    parts.append(FOREIGN)
    return BLANKS.sub("\n\n", "\n".join(parts)) + "\n"


def _streams() -> Iterator[str]:
    yield from ("| stream | subjects | kept | what |", "|---|---|---|---|")
    for stream in STREAMS:
        kept = f"{stream.max_age.days} days" if stream.max_age else "for ever"
        yield f"| {stream.name} | `{', '.join(stream.subjects)}` | {kept} | {stream.description} |"


def _overview() -> Iterator[str]:
    yield from ("| event | subject | stream | meaning |", "|---|---|---|---|")
    for event in EVENTS:
        summary = _prose(event).split("\n")[0]
        stream = stream_of(base_subject(event))
        yield f"| [{event.__name__}](#{event.__name__.lower()}) | `{_address(event)}` | {stream} | {summary} |"


def _address(event: type[Event]) -> str:
    return base_subject(event) + (f".<{ROUTED_BY[event]}>" if event in ROUTED_BY else "")


def _prose(struct: type[Struct]) -> str:
    return "\n".join(line.strip() for line in (struct.__doc__ or "").strip().splitlines())


def _fields(struct: type[Struct]) -> Iterator[str]:
    hints, found = get_type_hints(struct), structs.fields(struct)
    tag = struct.__struct_config__.tag_field
    if not found and not tag:
        yield "No fields."
        return
    yield from ("| field | type | default |", "|---|---|---|")
    if tag:
        yield f'| `{tag}` | "{struct.__struct_config__.tag}" | |'
    for field in found:
        yield f"| `{field.encode_name}` | {spell(hints[field.name])} | {_default(field)} |"


def _default(field: structs.FieldInfo) -> str:
    if field.required:
        return ""
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    return f"`{json.encode(value).decode()}`"


def spell(hint: Any) -> str:
    """A type as people write it: "list of text", "uuid or null"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " / ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(spell(argument) for argument in arguments)
    if origin is dict:
        return f"object of {spell(arguments[1])}"
    if origin is tuple and arguments[-1] is not ...:
        return f"[{', '.join(spell(argument) for argument in arguments)}]"
    if origin in (list, tuple):
        return f"list of {spell(arguments[0])}"
    return WORDS.get(hint) or _named(hint)


def _named(hint: Any) -> str:
    if hint in DOCUMENTED_ELSEWHERE:
        return f"[{hint.__name__}](metadata.schema.json)"
    if issubclass(hint, Struct):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return (
        f"{hint.__name__} ({', '.join(f'`{value}`' for value in hint)})"
        if issubclass(hint, str)
        else hint.__name__.lower()
    )


WORDS: Final[dict[object, str]] = {
    type(None): "null",
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    object: "any",
}


def _shared() -> list[type[Struct]]:
    """Structs inside events, in the order in which they are met; metadata.json has a page of its own."""
    met: list[type[Struct]] = []
    waiting: list[Any] = list(EVENTS)
    while waiting:
        hint = waiting.pop(0)
        waiting += get_args(hint)
        if isinstance(hint, type) and issubclass(hint, Struct) and hint not in (*met, *DOCUMENTED_ELSEWHERE):
            met.append(hint)
            waiting += get_type_hints(hint).values()
    return [struct for struct in met if struct not in EVENTS]
