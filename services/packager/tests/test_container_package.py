"""What lies in a container package, and what hostile names can do to it: nothing."""

import asyncio
import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tritonclient.grpc import model_config_pb2

from contracts import keys
from contracts import model_package as mp
from contracts.deployment import ContainerConfig
from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat
from packager import container_package, export_package
from packager.export_package import Package
from packager.provenance import MADE_HERE
from packager.settings import Settings
from processing import goldens

from .conftest import HOSTILE, make_artefact

BASE = "registry.example/triton:1"
HOSTILE_TENSOR = 'x" } ] } \\" ``` $(touch /tmp/pwned) `id` \' é'
FILES = {
    ".dockerignore",
    "Dockerfile",
    "NOTICE.txt",
    "README.md",
    "build.sh",
    "config.pbtxt",
    "golden_vectors.safetensors",
    "input.json",
    "labels.txt",
    "metadata.json",
    "model.onnx",
    "provenance/sbom.cdx.json",
    "provenance/statement.intoto.json",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """One export for all tests here, which change nothing of it."""
    folder = tmp_path_factory.mktemp("export")
    artefact = make_artefact(folder)
    return asyncio.run(export_package.assemble(artefact.metadata, artefact.sources(), folder))


def build(package: Package, folder: Path, config: ContainerConfig | None = None, **changes: Any) -> zipfile.ZipFile:
    folder.mkdir(exist_ok=True)
    metadata = replace(package.metadata, **changes)
    given = config or ContainerConfig()
    return zipfile.ZipFile(container_package.build(metadata, package.members, given, folder, base_image=BASE))


def named(metadata: mp.ModelMetadata, name: str) -> mp.ModelInfo:
    return replace(metadata.model_info, model_name=name)


def test_the_package_holds_what_the_readme_lists(package: Package, tmp_path: Path) -> None:
    made = build(package, tmp_path / "made")
    outside = {name for name in made.namelist() if not name.startswith("runtimes/")}
    assert outside == FILES
    assert {name.split("/")[1] for name in made.namelist() if name.startswith("runtimes/")} == {"python"}
    readme = made.read("README.md").decode()
    for name in FILES - {"NOTICE.txt", "README.md"}:
        assert f"`{name}`" in readme
    assert made.read("model.onnx") == package.members["model.onnx"].read_bytes()


def test_metadata_lists_the_files_of_this_package_and_languages_that_it_brings(
    package: Package, tmp_path: Path
) -> None:
    made = build(package, tmp_path / "made")
    metadata = msgspec.json.decode(made.read(keys.METADATA), type=mp.ModelMetadata)
    assert {file.path for file in metadata.files} == set(made.namelist()) - {keys.METADATA} - MADE_HERE
    for file in metadata.files:
        assert file.sha256 == hashlib.sha256(made.read(file.path)).hexdigest()
    assert set(metadata.runtime_wrappers) == {"python"}
    assert set(metadata.wrapper_proofs) <= {"python"}


def test_the_same_request_gives_the_same_bytes(package: Package, tmp_path: Path) -> None:
    made = [build(package, tmp_path / name).filename for name in ("one", "two")]
    digests = {hashlib.sha256(Path(str(path)).read_bytes()).hexdigest() for path in made}
    assert len(digests) == 1


def test_the_base_image_is_the_operator_s_unless_the_request_names_one(package: Package, tmp_path: Path) -> None:
    ours = build(package, tmp_path / "ours").read("Dockerfile").decode()
    assert f"ARG BASE_IMAGE={BASE}\nFROM ${{BASE_IMAGE}}\n" in ours
    asked = build(package, tmp_path / "asked", ContainerConfig(base_image="other/base:2")).read("Dockerfile").decode()
    assert "ARG BASE_IMAGE=other/base:2\n" in asked
    assert BASE not in asked


def test_the_default_base_image_is_a_release_of_this_year() -> None:
    default = next(field for field in msgspec.structs.fields(Settings) if field.name == "container_base_image").default
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver:2[6-9]\.\d\d-py3", str(default))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"container_base_image": "base\nRUN x"}, type=_only_image())


def _only_image() -> Any:
    field = next(field for field in msgspec.structs.fields(Settings) if field.name == "container_base_image")
    return msgspec.defstruct("OnlyImage", [(field.name, field.type)])


@pytest.mark.parametrize(
    ("config", "name", "reference"),
    [
        ({}, "yolo11n", "yolo11n:latest"),
        ({}, "My Model (v2)!", "my-model-v2:latest"),
        ({}, "日本語", "model:latest"),
        ({}, "x" * 200, f"{'x' * 64}:latest"),
        ({}, "$(touch pwned); `id`\\", "touch-pwned-id:latest"),
        ({"image_name": "a/b", "image_tag": "1.0"}, "any", "a/b:1.0"),
        ({"registry": "r.example:5000", "image_name": "a"}, "any", "r.example:5000/a:latest"),
    ],
)
def test_an_image_is_called_as_asked_or_after_its_model(
    package: Package, tmp_path: Path, config: dict[str, str], name: str, reference: str
) -> None:
    metadata = replace(package.metadata, model_info=named(package.metadata, name))
    found = container_package.image_reference(metadata, ContainerConfig(**config))
    assert found == reference
    msgspec.convert(
        {"image": found},
        type=msgspec.defstruct("Named", [("image", _only_image().__annotations__["container_base_image"])]),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=60))
@example(name="$(touch pwned) `id` ``` # \\ 'x' \"y\" ${z} %n")
def test_nothing_that_a_model_is_called_leaves_its_place(package: Package, tmp_path: Path, name: str) -> None:
    """Dockerfile, build script and ignore list are the same for all names but for the image's own, which is a plain word."""
    folder = tmp_path / "made"
    shutil.rmtree(folder, ignore_errors=True)
    info = named(package.metadata, name)
    made = build(package, folder, model_info=info)
    image = container_package.image_reference(replace(package.metadata, model_info=info), ContainerConfig())
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*:latest", image)
    plain = build(package, tmp_path / "plain", ContainerConfig(image_name=image.removesuffix(":latest")))
    for file in ("Dockerfile", ".dockerignore", "build.sh", "config.pbtxt", "input.json"):
        assert made.read(file) == plain.read(file)
    fences = [line for line in made.read("README.md").decode().splitlines() if line.lstrip().startswith("```")]
    assert fences == [line for line in plain.read("README.md").decode().splitlines() if line.startswith("```")]


def test_names_of_tensors_stay_quoted_in_every_language(package: Package, tmp_path: Path) -> None:
    metadata = package.metadata
    output = replace(next(iter(metadata.output_spec.values())), name=HOSTILE_TENSOR)
    hostile = replace(
        metadata,
        model_info=named(metadata, HOSTILE_TENSOR),
        input_spec=replace(metadata.input_spec, name=HOSTILE_TENSOR),
        output_spec={HOSTILE_TENSOR: output},
    )
    vectors, arrays = goldens.read(package.members[keys.GOLDENS].read_bytes())
    for asked in vectors["model"]:
        asked["outputs"] = {HOSTILE_TENSOR: next(iter(asked["outputs"].values()))}
    members = {**package.members, keys.GOLDENS: tmp_path / "goldens"}
    members[keys.GOLDENS].write_bytes(goldens.write(vectors, arrays))
    path = container_package.build(hostile, members, ContainerConfig(), tmp_path, base_image=BASE)
    made = zipfile.ZipFile(path)
    parsed = text_format.Parse(made.read("config.pbtxt").decode(), model_config_pb2.ModelConfig())
    assert parsed.input[0].name == parsed.output[0].name == HOSTILE_TENSOR
    assert json.loads(made.read("input.json"))["inputs"][0]["name"] == HOSTILE_TENSOR
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", made.read("README.md").decode(), re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["sh", "sh", "sh", "sh", "json", "sh"]
    assert not any(HOSTILE_TENSOR[:5] in text or "pwned)" in text for language, text in blocks if language == "sh")
    assert json.loads(blocks[4][1].rstrip().rstrip(",") + "]}")["name"] == HOSTILE_TENSOR


def test_class_names_are_lines_of_labels_and_nothing_else(package: Package, tmp_path: Path) -> None:
    made = build(package, tmp_path / "made")
    assert [each.name for each in package.metadata.classes] == list(HOSTILE)
    for file in ("Dockerfile", ".dockerignore", "build.sh", "config.pbtxt", "input.json", "README.md"):
        text = made.read(file).decode()
        assert not any(name in text for name in HOSTILE)


@pytest.mark.parametrize("export_format", set(ExportFormat) - {ExportFormat.ONNX})
def test_formats_that_are_not_served_are_refused_with_what_is(
    package: Package, tmp_path: Path, export_format: ExportFormat
) -> None:
    info = replace(package.metadata.model_info, export_format=export_format)
    with pytest.raises(Permanent, match=export_format) as caught:
        build(package, tmp_path / "made", model_info=info)
    assert (caught.value.code, "onnx" in caught.value.hint) == ("unsupported", True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members, _: members.pop(keys.GOLDENS), "no golden vectors"),
        (lambda members, _: members.pop("model.onnx"), "has no model.onnx"),
        (lambda members, junk: members.update({keys.GOLDENS: junk}), "cannot be asked of a server"),
    ],
)
def test_an_export_that_lacks_what_is_needed_is_refused(
    package: Package, tmp_path: Path, change: Any, said: str
) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"\xff" * 100)
    members = dict(package.members)
    change(members, junk)
    with pytest.raises(Permanent, match=said) as caught:
        container_package.build(package.metadata, members, ContainerConfig(), tmp_path, base_image=BASE)
    assert caught.value.code == "packaging_failed"
