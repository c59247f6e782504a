"""metadata.json is complete, valid against its schema, and refused where its own runtime would not understand it."""

import json

import jsonschema
import msgspec
import pytest

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata, metadata_json_schema
from packager import metadata
from packager.provenance import MADE_HERE


def test_the_written_file_is_valid_and_lists_every_other_file(package):
    data = package.members["metadata.json"].read_bytes()
    jsonschema.Draft202012Validator(metadata_json_schema()).validate(json.loads(data))
    decoded = msgspec.json.decode(data, type=ModelMetadata, strict=True)
    assert decoded == package.metadata
    assert {f.path for f in decoded.files} == set(package.members) - {"metadata.json"} - MADE_HERE
    for entry in decoded.files:
        assert metadata.digest(entry.path, package.members[entry.path]) == entry
    assert decoded.runtime_wrappers["python"] == "runtimes/python/model_wrapper.py"
    assert set(decoded.runtime_wrappers.values()) <= set(package.members)


def test_labels_are_the_classes_line_by_line(package):
    lines = package.members[keys.LABELS].read_text(encoding="utf-8").splitlines()
    assert lines == [each.name for each in package.metadata.classes]


def test_a_model_file_of_another_name_is_refused(artefact):
    wrong = msgspec.structs.replace(artefact.metadata, model_file="../model.onnx")
    with pytest.raises(Permanent, match="names the model") as error:
        metadata.complete(wrong, {}, {})
    assert error.value.code == "packaging_failed"


def test_metadata_that_the_shipped_runtime_cannot_execute_is_refused(artefact):
    replace = msgspec.structs.replace
    pre = artefact.metadata.preprocessing
    wrong = replace(artefact.metadata, preprocessing=replace(pre, normalize=replace(pre.normalize, embedded=True)))
    with pytest.raises(Permanent, match=r"preprocessing\.format\.dtype"):
        metadata.complete(wrong, {}, {})
