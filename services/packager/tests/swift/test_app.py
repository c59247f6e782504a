"""The app for iOS: its script fills the folder that its manifest copies and its sources look into."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

SAMPLE = Path(str(files("packager"))) / "samples" / "ios"
APP = "sample_code/ios/ModelSample.swiftpm"
MODELS = {
    "onnx": ["model.onnx"],
    "coreml": ["model.mlpackage/Manifest.json", "model.mlpackage/Data/com.apple.CoreML/model.mlmodel"],
}


@pytest.mark.parametrize("export_format", MODELS)
def test_the_app_takes_the_package_s_model(tmp_path, export_format):
    shutil.copytree(SAMPLE, tmp_path / "sample_code" / "ios")
    members = ["metadata.json", *MODELS[export_format]]
    for name in members:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for _again in range(2):
        subprocess.run(["sh", "sample_code/ios/prepare.sh"], cwd=tmp_path, check=True, timeout=100)
    (folder,) = re.findall(r'resources: \[\.copy\("(\w+)"\)\]', (tmp_path / APP / "Package.swift").read_text())
    copied = tmp_path / APP / folder
    assert sorted(str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()) == sorted(members)
    finder = (tmp_path / APP / "Sources" / "Finder.swift").read_text()
    assert re.findall(r'subdirectory: "(\w+)"', finder) == [folder]


def test_the_copied_folder_has_no_name_that_signing_refuses():
    """A bundle of iOS with a folder `Resources` looks like one of macOS: "bundle format unrecognized, invalid, or unsuitable"."""
    for manifest in Path(str(files("packager"))).rglob("Package.swift"):
        copied = re.findall(r'\.copy\("([^"]+)"\)', manifest.read_text(encoding="utf-8"))
        assert not {name.split("/")[0].lower() for name in copied} & {"resources", "contents", "support files"}
