"""Edge and container packages through the whole stack: what is in them, and whether it runs."""

import hashlib
import subprocess
import sys
import zipfile

import httpx
import msgspec
import pytest

from contracts.model_package import ModelMetadata
from contracts.vocabulary import TargetPlatform
from contracts.wrappers import PLATFORM_LANGUAGES
from modelport.errors import ApiError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
DESIGN_TREE = {"model.onnx", "labels.txt", "metadata.json", "README.md", "NOTICE.txt", "golden_vectors.safetensors"}


def packaged(owner, export, kind, **config):
    """A deployment that is active."""
    made = owner.client.deployments.create(export.id, kind, "in the field", config=config)
    ended = owner.client.deployments.wait(made.id, timeout_s=180)
    assert ended.status == "active", ended.error
    return ended


def fetched(owner, deployment, folder):
    """The package, unpacked, each file of the digest that metadata.json states."""
    path = owner.client.deployments.download(deployment.id, folder / "package.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "package")
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = msgspec.json.decode((folder / "package" / "metadata.json").read_bytes(), type=ModelMetadata)
    provenance = {name for name in names if name.startswith("provenance/")}
    assert provenance
    assert {file.path for file in metadata.files} == names - provenance - {"metadata.json"}
    for file in metadata.files:
        found = (folder / "package" / file.path).read_bytes()
        assert hashlib.sha256(found).hexdigest() == file.sha256, file.path
    return folder / "package", names, metadata


@pytest.mark.parametrize("platform", TargetPlatform)
def test_an_edge_package_for_every_device(owner, detector_export, tmp_path, platform):
    made = packaged(owner, detector_export, "edge_package", target_platform=platform)
    assert made.deployment_config["package_url"].endswith(f"/edge-packages/{made.id}.zip")
    link = owner.client.deployments.link(made.id)
    assert link.filename.startswith("vision-ai-")
    assert link.filename.endswith(
        f"package-{detector_export.id}.zip" if "mobile" in link.filename else f"-{detector_export.id}.zip"
    )
    folder, names, metadata = fetched(owner, made, tmp_path)
    assert names >= DESIGN_TREE
    labels = (folder / "labels.txt").read_text().splitlines()
    assert labels == [one.name for one in sorted(metadata.classes, key=lambda one: one.id)]
    languages = {name.split("/")[1] for name in names if name.startswith("runtimes/")}
    assert languages <= set(PLATFORM_LANGUAGES[platform])
    assert languages == set(metadata.runtime_wrappers)
    assert any(name.startswith("sample_code/") for name in names)


def test_without_sample_code_the_wrappers_stay(owner, detector_export, tmp_path):
    config = {"target_platform": "linux", "includes_sample_code": False}
    folder, names, _ = fetched(owner, packaged(owner, detector_export, "edge_package", **config), tmp_path)
    assert not any(name.startswith("sample_code") for name in names)
    assert "sample" not in (folder / "README.md").read_text()
    ran = subprocess.run(
        [sys.executable, folder / "runtimes" / "python" / "verify.py"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_container_package(owner, detector_export, tmp_path):
    made = packaged(owner, detector_export, "container", image_name="shapes/detector", image_tag="v1")
    assert made.deployment_config["dockerfile_url"].endswith(f"/container-packages/{made.id}.zip")
    folder, names, _ = fetched(owner, made, tmp_path)
    assert names >= {"Dockerfile", "model.onnx", "metadata.json", "config.pbtxt", "build.sh", "README.md"}
    assert "shapes/detector:v1" in (folder / "build.sh").read_text()


def test_the_life_of_a_package(owner, detector_export, tmp_path, until):
    deployments = owner.client.deployments
    made = packaged(owner, detector_export, "edge_package", target_platform="android")
    first = deployments.link(made.id)
    deployments.deactivate(made.id)
    with pytest.raises(ApiError) as caught:
        deployments.link(made.id)
    assert (caught.value.code, "reactivate" in caught.value.hint) == ("conflict", True)
    deployments.reactivate(made.id)
    assert deployments.wait(made.id, timeout_s=180).status == "active"
    second = deployments.link(made.id)
    assert second.sha256 == first.sha256, "the same request, the same bytes"
    deployments.delete(made.id)
    until(lambda: httpx.get(second.download_url).status_code == 404, 60, "the zip is gone")
    with pytest.raises(ApiError) as caught:
        deployments.get(made.id)
    assert caught.value.status == 404


def test_a_stranger_gets_nothing(owner, person, detector_export):
    made = packaged(owner, detector_export, "edge_package", target_platform="linux")
    stranger = person("free").client.deployments
    for act in (stranger.get, stranger.link, stranger.delete, stranger.reactivate):
        with pytest.raises(ApiError) as caught:
            act(made.id)
        assert caught.value.status == 404
    with pytest.raises(ApiError) as caught:
        stranger.create(detector_export.id, "container", "stolen")
    assert caught.value.status == 404
