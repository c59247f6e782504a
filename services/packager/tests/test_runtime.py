"""A package in a clean interpreter that sees nothing but the package's files and its requirements."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.keys import GOLDENS
from contracts.vocabulary import ExportFormat
from processing import goldens

INSTALLS = {
    "numpy": ("numpy", "numpy.libs"),
    "onnxruntime": ("onnxruntime",),
    "opencv-python-headless": ("cv2", "opencv_python_headless.libs"),
    "pillow": ("PIL", "pillow.libs"),
}


class Unpacked:
    """An unpacked package, and only what its requirements name installed beside it."""

    def __init__(self, root: Path, archive: Path, *, everything: bool = False) -> None:
        self.path = root / "package"
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(self.path)
        site = Path(importlib.util.find_spec("numpy").origin).parents[1]
        self.python_path = site if everything else root / "site"
        if everything:
            return
        self.python_path.mkdir()
        for line in (self.path / "runtimes/python/requirements.txt").read_text().splitlines():
            for folder in INSTALLS.get(line.partition("==")[0], ()):
                if (site / folder).exists():
                    (self.python_path / folder).symlink_to(site / folder)

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.python_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(command, cwd=self.path, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture(params=[True, False], ids=["detector", "classifier"])
async def unpacked(request, make, assemble, tmp_path):
    package = await assemble(make(detects=request.param))
    return Unpacked(tmp_path, package.zip)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(60, 256, (40, 90, 3), dtype=np.uint8)).save(path)
    return path


def test_example_prints_the_golden_predictions(unpacked, picture):
    done = unpacked.python("runtimes/python/example.py", str(picture))
    assert done.returncode == 0, done.stderr
    vectors, arrays = goldens.read((unpacked.path / GOLDENS).read_bytes())
    np.testing.assert_array_equal(arrays["picture_0"], np.asarray(Image.open(picture)))
    assert json.loads(done.stdout) == vectors["model"][0]["predictions"]


def test_the_wrapper_of_the_design(unpacked, picture):
    script = (
        "import sys, json; sys.path.append('runtimes/python')\n"
        "import processing\n"
        "from model_wrapper import ModelWrapper\n"
        "wrapper = ModelWrapper('model.onnx', 'metadata.json')\n"
        f"found = [prediction.as_dict() for prediction in wrapper.predict({str(picture)!r})]\n"
        "print(json.dumps([processing.__file__, found]))\n"
    )
    done = unpacked.python("-c", script)
    assert done.returncode == 0, done.stderr
    origin, predictions = json.loads(done.stdout)
    assert Path(origin).is_relative_to(unpacked.path) or origin.startswith("runtimes")
    assert predictions
    assert set(predictions[0]) == {"class_id", "class_name", "confidence", "bbox"}


def blocks(package, heading, language):
    """The code of one language below a heading of the package's README."""
    section = (package / "README.md").read_text().partition(f"### {heading}\n")[2].partition("\n#")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_readme_s_commands_run_as_they_stand(unpacked, picture):
    (commands,), (program,) = blocks(unpacked.path, "Python", "sh"), blocks(unpacked.path, "Python", "python")
    made, installed, *run = commands.splitlines()
    assert made == "python3 -m venv venv"
    assert installed == "venv/bin/pip install -r runtimes/python/requirements.txt"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "venv"], cwd=unpacked.path, check=True)
    site = next(unpacked.path.glob("venv/lib/*/site-packages"))
    (site / "requirements.pth").write_text(str(unpacked.python_path))
    picture.rename(unpacked.path / "picture.jpg")
    for line in run:
        done = subprocess.run(["bash", "-ec", line], cwd=unpacked.path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^([1-9]\d*) of \1 checks passed$", done.stdout, re.MULTILINE)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": "runtimes/python"}
    done = subprocess.run(
        ["venv/bin/python", "-c", program], cwd=unpacked.path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1


def test_verify_passes_on_the_package_as_built(unpacked):
    done = unpacked.python("runtimes/python/verify.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "pass  predictions picture 3" in done.stdout


def test_verify_fails_on_another_model_and_other_goldens(unpacked):
    model = unpacked.path / "model.onnx"
    data = bytearray(model.read_bytes())
    at = data.find(np.float32(24).tobytes()) if b"boxes" in data else -1
    if at >= 0:
        data[at : at + 4] = np.float32(30).tobytes()
        model.write_bytes(bytes(data))
    path = unpacked.path / GOLDENS
    vectors, arrays = goldens.read(path.read_bytes())
    vectors["preprocess"][1]["tensor"]["crc32"] = "00000000"
    path.write_bytes(goldens.write(vectors, arrays))
    done = unpacked.python("runtimes/python/verify.py")
    assert done.returncode == 1
    assert f"FAIL  preprocess {vectors['preprocess'][1]['name']}: CRC-32" in done.stdout
    assert f"FAIL  files {GOLDENS}" in done.stdout
    if at >= 0:
        assert "FAIL  files model.onnx" in done.stdout
        assert "FAIL  model picture 0" in done.stdout
        assert "FAIL  predictions picture 0" in done.stdout
        assert "FAIL  postprocess" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.png"], "missing.png"),
        (["metadata.json"], "not a JPEG, PNG, WebP or BMP file"),
        (["{picture}", "--confidence-threshold", "7"], "confidence_threshold"),
        (["{picture}", "--model", "nowhere.onnx"], "nowhere.onnx"),
    ],
)
def test_mistakes_are_one_sentence(unpacked, picture, arguments, words):
    done = unpacked.python("runtimes/python/example.py", *(a.format(picture=picture) for a in arguments))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
async def test_torchscript(make, assemble, tmp_path, picture):
    package = await assemble(make(detects=False, export_format=ExportFormat.TORCHSCRIPT))
    unpacked = Unpacked(tmp_path, package.zip, everything=True)
    done = unpacked.python("runtimes/python/verify.py")
    assert done.returncode == 0, done.stdout + done.stderr
    done = unpacked.python("runtimes/python/example.py", str(picture), "--top-k", "2")
    assert len(json.loads(done.stdout)) == 2
