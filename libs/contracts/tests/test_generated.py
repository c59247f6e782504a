"""What is generated from the contracts is well-formed, and golden events are valid by it."""

import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from contracts import asyncapi, generate, reference
from contracts.model_package import metadata_json_schema
from contracts.subjects import EVENTS, base_subject

GOLDEN = Path(__file__).parent / "golden"


def reference_exists(document, pointer):
    node = document
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part]
    return True


def references(node):
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_asyncapi_has_no_dangling_reference():
    document = msgspec.json.decode(msgspec.json.encode(asyncapi.document()))
    found = list(references(document))
    assert len(found) > 100
    assert all(reference_exists(document, pointer) for pointer in found)


def test_asyncapi_tells_every_event_its_address():
    channels = asyncapi.document()["channels"]
    assert channels["ExportRequestedV1"]["address"] == "export.jobs.requested.v1.{export_route}"
    assert channels["ExportRequestedV1"]["parameters"]["export_route"]["enum"][0] == "onnx"
    assert len(channels) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_golden_events_are_valid_by_the_published_schema(event):
    components = msgspec.json.decode(msgspec.json.encode(asyncapi.document()["components"]))
    schema = {"$ref": f"#/components/schemas/{event.__name__}", "components": components}
    body = msgspec.json.decode((GOLDEN / f"{base_subject(event)}.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(body | {"type": "nonsense"})


def test_golden_metadata_is_valid_by_its_schema():
    body = msgspec.json.decode((GOLDEN / "export.packages.built.v1.json").read_bytes())["metadata"]
    validator = jsonschema.Draft202012Validator(metadata_json_schema())
    validator.validate(body)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(body | {"classes": [{"id": -1, "name": "x"}]})


def test_the_page_names_every_event_and_its_links_lead_somewhere():
    page = reference.render()
    anchors = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    links = set(re.findall(r"\]\(#([a-z0-9]+)\)", page))
    assert {event.__name__.lower() for event in EVENTS} <= links
    assert links <= anchors


def test_check_finds_drift(tmp_path, monkeypatch, capsys):
    documents = {"a.json": lambda: b"new"}
    monkeypatch.setattr(generate, "DOCUMENTS", documents)
    monkeypatch.chdir(tmp_path)
    assert generate.main([]) == 2
    (tmp_path / "docs").mkdir()
    assert generate.main(["--check"]) == 1
    assert "make gen" in capsys.readouterr().err
    assert not (tmp_path / "docs" / "a.json").exists()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs" / "a.json").write_text("old")
    assert generate.main(["--check"]) == 1
