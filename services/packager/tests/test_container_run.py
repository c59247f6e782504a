"""A container package as its user meets it: unpacked, built by its build.sh, run, and asked as its README says."""

import json
import re
import shlex
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from contracts import keys
from contracts import model_package as mp
from contracts import vocabulary as v
from contracts.deployment import ContainerConfig
from packager import container_package, export_package, sample_request
from processing import goldens

from .conftest import Artefact, make_artefact, make_metadata, write_goldens
from .containers import BASE_IMAGE, Container, Engine, missing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
CONFIG = ContainerConfig(base_image=BASE_IMAGE, registry="localhost", image_name="modelport/tiny", image_tag="1.0")
WITHIN_PIXELS, WITHIN_CONFIDENCE = 0.05, 1e-4
"""One model on one machine twice: what is left is the text of float32."""


class Answered(NamedTuple):
    """What was built and what the documented commands gave."""

    package: Path
    container: Container
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if why := missing():
        pytest.skip(why)
    made = Engine(tmp_path_factory.mktemp("containers") / "engine")
    yield made
    made.close()


def unpacked(archive: Path, folder: Path) -> Path:
    """As `unzip` does it: with the permissions that the archive states."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
        for entry in opened.infolist():
            (folder / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    return folder


def commands(readme: str, program: str) -> list[str]:
    """The shell commands of a README that begin with a word, whole blocks, as they are printed there."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [block.strip() for block in blocks if block.startswith(program)]


def colours(folder: Path) -> Artefact:
    """A classifier that takes uint8 pixels, any number of pictures at once, and answers with their mean colours."""
    metadata = make_metadata(detects=False, export_format=v.ExportFormat.ONNX, names=("red", "green", "blue"))
    pre = metadata.preprocessing
    metadata = replace(
        metadata,
        preprocessing=replace(
            pre,
            normalize=replace(pre.normalize, embedded=True),
            format=replace(pre.format, output_layout="NHWC", dtype="uint8"),
        ),
        input_spec=mp.TensorSpec(name="images", shape=(-1, 32, 48, 3), dtype="uint8", format="NHWC"),
        output_spec={"output0": mp.TensorSpec(name="output0", shape=(-1, 3), dtype="float32", format="logits")},
    )
    nodes = [
        helper.make_node("Cast", ["images"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "most"], ["unit"]),
        helper.make_node("ReduceMean", ["unit", "axes"], ["output0"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 32, 48, 3])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array(255, np.float32), "most"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        ],
    )
    names = (metadata.model_file, keys.PARITY_REPORT, keys.GOLDENS, keys.LOG)
    files = {name: folder / name for name in names}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, files[metadata.model_file])
    write_goldens(files[keys.GOLDENS], metadata, files[metadata.model_file])
    for name in (keys.PARITY_REPORT, keys.LOG):
        files[name].write_text("{}")
    return Artefact(metadata, files)


async def packaged(artefact: Artefact, folder: Path) -> Path:
    """The container package of an artefact, unpacked."""
    made = folder / "made"
    made.mkdir()
    package = await export_package.assemble(artefact.metadata, artefact.sources(), made)
    archive = container_package.build(package.metadata, package.members, CONFIG, made, base_image="not/this:one")
    return unpacked(archive, folder / "unpacked")


def asked(engine: Engine, package: Path, builder: str) -> Iterator[Answered]:
    """Build, run, wait and ask, each with the line that the package itself gives."""
    readme = (package / "README.md").read_text()
    engine.call(("./build.sh",), package, ENGINE=f"docker {builder}")
    assert commands(readme, "./build.sh") == ["./build.sh"]
    (run,) = commands(readme, "docker run")
    ready, ask = commands(readme, "curl")
    with engine.running(shlex.split(run)[-1]) as container:
        container.wait(ready, package)
        container.beside(("sh", "-euc", ask), package)
        yield Answered(package, container, json.loads((package / "answer.json").read_bytes()))


@pytest.fixture(params=["float32 pixels as JSON, buildah", "uint8 pixels as bytes, podman"])
async def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if "JSON" in request.param:
        return await packaged(make_artefact(tmp_path), tmp_path)
    monkeypatch.setattr(sample_request, "JSON_BYTES", 0)
    return await packaged(colours(tmp_path), tmp_path)


@pytest.fixture
def answered(engine: Engine, package: Path, request: pytest.FixtureRequest) -> Iterator[Answered]:
    builder = request.node.callspec.params["package"].rsplit(" ", 1)[1]
    yield from asked(engine, package, builder)


def test_the_documented_commands_build_run_and_ask(answered: Answered, tmp_path: Path) -> None:
    vectors, arrays = goldens.read((answered.package / keys.GOLDENS).read_bytes())
    example = next(one for one in vectors["model"] if one["predictions"])
    _answer_is_golden(answered, example, arrays, vectors["tolerances"]["output"])
    _readme_tells_the_beginning(answered)
    _client_predicts(answered, example, arrays[example["picture"]], tmp_path)
    _refusals_are_told(answered, tmp_path)


def _answer_is_golden(
    answered: Answered, example: dict[str, Any], arrays: dict[str, np.ndarray], tolerance: float
) -> None:
    assert answered.answer["model_name"] == "model"
    found = {output["name"]: output for output in answered.answer["outputs"]}
    assert set(found) == set(example["outputs"])
    for name, stored in example["outputs"].items():
        assert found[name]["shape"] == stored["shape"]
        ours = np.array(found[name]["data"], np.float32)[:: stored["stride"]]
        golden = arrays[stored["array"]].ravel()
        assert np.abs(golden).max() > 0
        assert np.abs(ours - golden).max() <= tolerance * np.abs(golden).max()


def _readme_tells_the_beginning(answered: Answered) -> None:
    readme = (answered.package / "README.md").read_text()
    (told,) = re.findall(r"^```json\n(.*?),?\n```$", readme, re.DOTALL | re.MULTILINE)
    told = json.loads(told + "]}")
    output = next(output for output in answered.answer["outputs"] if output["name"] == told["name"])
    assert (told["datatype"], told["shape"]) == (output["datatype"], output["shape"])
    assert told["data"] == pytest.approx(output["data"][: len(told["data"])], rel=1e-4, abs=1e-5)


def _client_predicts(answered: Answered, example: dict[str, Any], picture: np.ndarray, folder: Path) -> None:
    Image.fromarray(picture).save(folder / "picture.png")
    client = (sys.executable, "runtimes/python/client.py", str(folder / "picture.png"))
    found = json.loads(answered.container.beside(client, answered.package).stdout)
    assert [one["class_name"] for one in found] == [one["class_name"] for one in example["predictions"]]
    for ours, golden in zip(found, example["predictions"], strict=True):
        assert ours["confidence"] == pytest.approx(golden["confidence"], abs=WITHIN_CONFIDENCE)
        assert (ours["bbox"] is None) == (golden["bbox"] is None)
        if golden["bbox"]:
            assert ours["bbox"] == pytest.approx(golden["bbox"], abs=WITHIN_PIXELS)


def _refusals_are_told(answered: Answered, folder: Path) -> None:
    """A picture that is none, a server that is not there."""
    (folder / "picture.txt").write_text("no picture")
    python = (sys.executable, "runtimes/python/client.py")
    silent = ("--url", "http://localhost:9")
    for arguments, said in (
        ((str(folder / "picture.txt"),), "picture.txt: not a JPEG"),
        ((str(folder / "picture.png"), *silent), "does not answer"),
        ((str(folder / "picture.png"), "--url", "ftp://x"), "is no address"),
    ):
        done = answered.container.beside((*python, *arguments), answered.package, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
