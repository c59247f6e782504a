"""The request in a container package: the golden picture's own tensor, in a shape that the server takes."""

import asyncio
import json

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from contracts import keys
from contracts.errors import Permanent
from packager import export_package, sample_request
from packager.export_package import Package
from processing import goldens
from processing.pipeline import Pipeline

from .conftest import make_artefact


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """One export for all tests here, which change nothing of it."""
    folder = tmp_path_factory.mktemp("export")
    artefact = make_artefact(folder)
    return asyncio.run(export_package.assemble(artefact.metadata, artefact.sources(), folder))


def test_the_request_is_the_golden_picture_s_tensor(package: Package) -> None:
    vectors, arrays = goldens.read(package.members[keys.GOLDENS].read_bytes())
    chosen = next(one for one in vectors["model"] if one["predictions"])
    request = sample_request.build(package.metadata, package.members[keys.GOLDENS].read_bytes())
    (sent,) = json.loads(request.body)["inputs"]
    tensor = np.array(sent["data"], np.float32).reshape(sent["shape"])
    assert goldens.fingerprint(tensor) == chosen["tensor"]
    expected, _ = Pipeline.from_metadata(msgspec.to_builtins(package.metadata)).preprocess(arrays[chosen["picture"]])
    assert np.array_equal(tensor, expected)


def test_a_request_too_long_for_json_is_bytes(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = package.members[keys.GOLDENS].read_bytes()
    text = sample_request.build(package.metadata, vectors)
    monkeypatch.setattr(sample_request, "JSON_BYTES", len(text.body) - 1)
    assert sample_request.build(package.metadata, vectors).file == "input.json"
    monkeypatch.setattr(sample_request, "JSON_BYTES", 1000)
    request = sample_request.build(package.metadata, vectors)
    assert request.file == "input.bin"
    head = json.loads(request.body[: request.json_bytes])["inputs"][0]
    raw = request.body[request.json_bytes :]
    assert head["parameters"]["binary_data_size"] == len(raw) == 4 * 3 * 32 * 48
    told = np.array(json.loads(text.body)["inputs"][0]["data"], np.float32)
    assert np.array_equal(np.frombuffer(raw, "<f4"), told)


def test_a_fixed_batch_is_filled_with_the_same_picture(package: Package) -> None:
    spec = replace(package.metadata.input_spec, shape=(3, 3, 32, 48))
    vectors = package.members[keys.GOLDENS].read_bytes()
    request = sample_request.build(replace(package.metadata, input_spec=spec), vectors)
    (sent,) = json.loads(request.body)["inputs"]
    assert sent["shape"] == [3, 3, 32, 48]
    pictures = np.array(sent["data"]).reshape(3, -1)
    assert (pictures == pictures[0]).all()
    assert request.shapes["output0"][0] == 3


def test_a_request_that_no_server_takes_is_refused_by_name(package: Package) -> None:
    spec = replace(package.metadata.input_spec, shape=(4000, 3, 32, 48))
    with pytest.raises(Permanent, match="73728000 bytes") as caught:
        sample_request.build(replace(package.metadata, input_spec=spec), package.members[keys.GOLDENS].read_bytes())
    assert caught.value.code == "unsupported"
    assert "batch" in caught.value.hint
