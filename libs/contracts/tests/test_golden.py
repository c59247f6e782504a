"""Golden files: what was once on the bus decodes for ever, and says the same."""

from pathlib import Path

import msgspec
import pytest

from contracts.envelope import open_body
from contracts.errors import Permanent
from contracts.events import Event
from contracts.subjects import EVENTS, base_subject

GOLDEN = Path(__file__).parent / "golden"
REQUESTS = {"ExportRequestedV1", "PreflightRequestedV1", "DeploymentRequestedV1"}


def golden(event: type[Event]) -> bytes:
    return (GOLDEN / f"{base_subject(event)}.json").read_bytes()


def contains(found: object, wanted: object) -> bool:
    """Whether `found` says everything that `wanted` says; it may say more (fields that came later)."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(k in found and contains(found[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(contains, found, wanted))
    return found == wanted


def test_contains_can_fail():
    assert not contains({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
    assert not contains({"a": 1}, {"a": 1, "c": 1})
    assert contains({"a": [{"b": 2, "new": 0}]}, {"a": [{"b": 2}]})


def test_every_event_has_a_golden_file_and_every_file_an_event():
    assert {path.stem for path in GOLDEN.glob("*.json")} == {base_subject(event) for event in EVENTS}


def test_the_union_and_the_table_name_the_same_events():
    assert set(EVENTS) == set(Event.__args__)


@pytest.mark.parametrize("event", EVENTS)
def test_it_decodes_and_says_the_same(event):
    raw = golden(event)
    decoded = open_body(event, raw)
    assert contains(msgspec.json.decode(msgspec.json.encode(decoded)), msgspec.json.decode(raw))


@pytest.mark.parametrize("event", EVENTS)
def test_it_decodes_by_its_tag_alone(event):
    assert type(msgspec.json.decode(golden(event), type=Event)) is event


@pytest.mark.parametrize("event", EVENTS)
def test_every_field_is_exercised(event):
    """A field that no golden file sets is a field whose old meaning nobody checks."""
    said = msgspec.json.decode(golden(event))
    assert {field.encode_name for field in msgspec.structs.fields(event)} <= set(said)


@pytest.mark.parametrize("event", EVENTS)
def test_unknown_fields_are_tolerated_on_facts_and_refused_on_requests(event):
    raw = msgspec.json.encode(msgspec.json.decode(golden(event)) | {"of_a_later_version": 1})
    if event.__name__ in REQUESTS:
        with pytest.raises(Permanent, match="of_a_later_version"):
            open_body(event, raw)
    else:
        assert open_body(event, raw) == open_body(event, golden(event))


@pytest.mark.parametrize("event", EVENTS)
def test_a_missing_field_is_named(event):
    body = msgspec.json.decode(golden(event))
    required = next(f.encode_name for f in msgspec.structs.fields(event) if f.required)
    del body[required]
    with pytest.raises(Permanent, match=required) as caught:
        open_body(event, msgspec.json.encode(body))
    assert caught.value.code == "undecodable_event"


def test_the_tag_of_another_version_is_refused():
    event = EVENTS[0]
    raw = golden(event).replace(b".v1", b".v2")
    with pytest.raises(Permanent):
        open_body(event, raw)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
def test_rubbish_is_permanent(body):
    with pytest.raises(Permanent):
        open_body(EVENTS[0], body)
