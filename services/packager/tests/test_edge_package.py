"""Edge packages on disk: what each device gets, from which export, and what strangers' words do in it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contracts import keys
from contracts.deployment import EdgePackageConfig
from contracts.errors import Permanent
from contracts.model_package import ModelMetadata
from contracts.vocabulary import TargetPlatform, WrapperLanguage
from contracts.wrappers import PLATFORM_LANGUAGES
from packager import edge_package
from packager.export_package import Package
from packager.proofs import Gate, delivered
from packager.provenance.signing import Signer

replace = msgspec.structs.replace


def build(package: Package, folder: Path, platform: TargetPlatform, *, signer: Signer | None = None, **asked: bool):
    """The zip, opened."""
    folder.mkdir()
    config = EdgePackageConfig(target_platform=platform, **asked)
    members = {name: path for name, path in package.members.items() if name != keys.METADATA}
    return zipfile.ZipFile(edge_package.build(package.metadata, members, config, folder, signer=signer))


def languages(names: list[str]) -> set[str]:
    return {name.split("/")[1] for name in names if name.startswith("runtimes/")}


@pytest.mark.parametrize("platform", TargetPlatform)
async def test_a_device_gets_its_languages_and_its_sample(package: Package, tmp_path: Path, platform: TargetPlatform):
    made = build(package, tmp_path / "made", platform)
    described = msgspec.json.decode(made.read(keys.METADATA), type=ModelMetadata)
    assert languages(made.namelist()) == set(PLATFORM_LANGUAGES[platform])
    assert set(described.runtime_wrappers) == languages(made.namelist())
    assert f"sample_code/{platform}/README.md" in made.namelist()
    text = made.read("README.md").decode()
    assert edge_package.DEVICES[platform] in text
    assert f"sample_code/{platform}/README.md" in text
    for path in described.runtime_wrappers.values():
        assert path in text
        assert path in made.namelist()


async def test_the_same_wish_gives_the_same_bytes(package: Package, tmp_path: Path):
    one, two = (build(package, tmp_path / name, TargetPlatform.IOS).filename for name in ("one", "two"))
    assert Path(one).read_bytes() == Path(two).read_bytes()


async def test_without_sample_code_all_else_stays(package: Package, tmp_path: Path):
    whole = set(build(package, tmp_path / "whole", TargetPlatform.ANDROID).namelist())
    made = build(package, tmp_path / "made", TargetPlatform.ANDROID, includes_sample_code=False)
    assert set(made.namelist()) == {name for name in whole if not name.startswith("sample_code/")}
    assert "sample" not in made.read("README.md").decode()


async def test_names_of_strangers_are_shown_and_not_obeyed(package: Package, tmp_path: Path):
    """The model's name and the classes of the fixtures are hostile."""
    made = build(package, tmp_path / "made", TargetPlatform.LINUX)
    text = made.read("README.md").decode()
    assert "<b>" not in text
    assert "<script>" not in text
    assert made.read(keys.LABELS).decode().splitlines() == [one.name for one in package.metadata.classes]


async def test_provenance_is_of_this_package(package: Package, tmp_path: Path):
    signer = Signer(ec.generate_private_key(ec.SECP256R1()))
    for key, name in ((signer, "signed"), (None, "unsigned")):
        made = build(package, tmp_path / name, TargetPlatform.LINUX, signer=key)
        assert (keys.SIGNATURE in made.namelist()) is (key is not None)
        assert b"sample_code/linux/README.md" in made.read(keys.STATEMENT)
        assert b'"target_platform"' in made.read(keys.STATEMENT)
        described = msgspec.json.decode(made.read(keys.METADATA), type=ModelMetadata)
        assert described.provenance.signing_key_id == (key.key_id if key else "")
        assert (key.key_id if key else "unsigned") in made.read("README.md").decode()


async def test_an_export_of_older_releases_gets_what_it_lacks_or_a_reason(package: Package, tmp_path: Path):
    without = {name: path for name, path in package.members.items() if name not in (keys.LABELS, keys.METADATA)}
    older = replace(package, members=without)
    assert keys.LABELS in build(older, tmp_path / "labels", TargetPlatform.LINUX).namelist()
    in_python = {"python": package.metadata.runtime_wrappers["python"]}
    older = replace(package, metadata=replace(package.metadata, runtime_wrappers=in_python))
    assert build(older, tmp_path / "python", TargetPlatform.JETSON)
    for platform, title in ((TargetPlatform.ANDROID, "Kotlin"), (TargetPlatform.IOS, "Swift")):
        with pytest.raises(Permanent, match=f"no {title} wrapper") as caught:
            build(older, tmp_path / platform, platform)
        assert "Export the model again" in caught.value.hint


async def test_an_export_without_its_model_is_refused(package: Package, tmp_path: Path):
    members: Mapping[str, Path] = {name: path for name, path in package.members.items() if name != "model.onnx"}
    with pytest.raises(Permanent, match=r"no model\.onnx"):
        build(replace(package, members=members), tmp_path / "made", TargetPlatform.LINUX)


class LastLook:
    """A gate that notes what it was shown."""

    def __init__(self) -> None:
        self.shown: dict[str, bytes] = {}
        self.languages: set[str] = set()

    async def prove(self, model: ModelMetadata, members: Mapping[str, Path], _folder: Path) -> dict[Any, Any]:
        self.languages = set(model.runtime_wrappers)
        self.shown = {name: path.read_bytes() for name, path in members.items()}
        return {}


async def test_what_is_verified_is_the_zip_itself(package: Package, tmp_path: Path):
    made, gate = build(package, tmp_path / "made", TargetPlatform.ANDROID), LastLook()
    await delivered.prove(cast(Gate, gate), Path(str(made.filename)), tmp_path / "made")
    assert gate.languages == {"python"}
    assert gate.shown == {name: made.read(name) for name in made.namelist() if name != keys.METADATA}


def test_every_language_has_a_title():
    assert set(edge_package._TITLES) == set(WrapperLanguage)
