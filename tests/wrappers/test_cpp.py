"""The C++ wrapper on packages of real exports, with each runtime that is here: its own verification, and the Python wrapper's predictions."""

import shutil
import subprocess
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from contracts.vocabulary import ExportFormat
from packager.toolchains import cpp
from packager.toolchains.cpp import BACKENDS, Cpp
from packager.toolchains.downloads import default_cache
from processing.masks import Mask

from .conftest import ONE_OF_EACH_TASK, Answers, Packages, answers

LIMIT_S = 300
pytestmark = pytest.mark.timeout(2 * LIMIT_S)
PACKAGES = [
    *((name, ExportFormat.ONNX) for name in (*ONE_OF_EACH_TASK, "shapes-rtdetr", "shapes-yolo26")),
    *((name, ExportFormat.OPENVINO) for name in ("digits-timm", "shapes-detector", "shapes-segmenter")),
    *((name, ExportFormat.TORCHSCRIPT) for name in ("digits-timm", "shapes-detector", "shapes-segmenter")),
    *((name, ExportFormat.TFLITE) for name in ("digits-timm", "shapes-detector")),
]
"""LiteRT's converter makes no segmenter of this sample."""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.fixture(scope="module")
def built() -> Callable[[ExportFormat], Cpp]:
    """The programs that run a format; compiled where none are kept."""
    return lambda export_format: cpp.build(BACKENDS[export_format], default_cache())


@pytest.fixture
def program(built: Callable[[ExportFormat], Cpp], export_format: ExportFormat) -> Cpp:
    """What runs the format of a test's parameters: a fixture, for a test's own time is too short to compile in."""
    return built(export_format)


@pytest.fixture
def package(packages: Packages, name: str, export_format: ExportFormat) -> Path:
    """The package of a test's parameters, exported where no test has asked for it before."""
    return packages(name, export_format)


@pytest.fixture
def whole(packages: Packages) -> Path:
    return packages("shapes-detector")


@pytest.fixture
def onnx(built: Callable[[ExportFormat], Cpp]) -> Cpp:
    return built(ExportFormat.ONNX)


@pytest.fixture
def tflite(built: Callable[[ExportFormat], Cpp]) -> Cpp:
    return built(ExportFormat.TFLITE)


@pytest.mark.parametrize(("name", "export_format"), PACKAGES)
def test_every_golden_vector_is_repeated(program: Cpp, package: Path) -> None:
    done = run(program.verify(package))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-4000:]
    *lines, total = done.stdout.splitlines()
    assert len(lines) > 64
    assert all(line.startswith("pass  ") for line in lines)
    assert total == f"{len(lines)} of {len(lines)} checks passed"


@pytest.mark.parametrize(("name", "export_format"), PACKAGES)
def test_the_example_predicts_what_python_predicts(
    program: Cpp, package: Path, pictures: list[Path], python_answers: Callable[..., Answers], name: str
) -> None:
    options = ["--confidence-threshold", "0.05"] if name != "shapes-segformer" else []
    done = run(program.example(package, *options, *map(str, pictures)))
    assert (done.returncode, done.stderr) == (0, "")
    got, expected = answers(done.stdout), python_answers(package, pictures, *options)
    assert sum(map(len, expected)) > 0
    same(got, expected)


def same(got: Answers, expected: Answers) -> None:
    """The same predictions in the same order; a runtime of another release may add up in another order."""
    assert [[p["class_name"] for p in each] for each in got] == [[p["class_name"] for p in each] for each in expected]
    for one, other in zip(chain(*got), chain(*expected), strict=True):
        assert one.keys() == other.keys()
        for field in one.keys() - {"class_name", "mask"}:
            if other[field] is not None:
                np.testing.assert_allclose(one[field], other[field], rtol=1e-4, atol=1e-2)
        if "mask" in one:
            a, b = (Mask(tuple(p["mask"]["size"]), tuple(p["mask"]["counts"])).array() for p in (one, other))
            assert (a ^ b).sum() <= max(2, a.size // 1_000)


def test_faults_of_a_package_are_found_by_name(onnx: Cpp, whole: Path, tmp_path: Path) -> None:
    for subject, change in {
        "FAIL  files model.onnx: differs": lambda broken: truncate(broken / "model.onnx"),
        "FAIL  model load: ": lambda broken: truncate(broken / "model.onnx"),
        "FAIL  files labels.txt: missing": lambda broken: (broken / "labels.txt").unlink(),
        "FAIL  preprocess ": lambda broken: replace(broken / "metadata.json", '"letterbox"', '"stretch"'),
        "FAIL  postprocess ": lambda broken: replace(broken / "metadata.json", '"enabled": true', '"enabled": false'),
    }.items():
        broken = tmp_path / "broken"
        shutil.copytree(whole, broken)
        change(broken)
        done = run(onnx.verify(broken))
        shutil.rmtree(broken)
        assert done.returncode == 1
        assert subject in done.stdout + done.stderr


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_files_and_options_that_mean_nothing_are_refused(
    onnx: Cpp, whole: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    for arguments, told in (
        ([str(tmp_path / "empty.png")], "not a JPEG, PNG or BMP file"),
        ([str(tmp_path / "none.png")], "there is no file"),
        (["--top-k", "3", str(pictures[0])], "top_k: is for classifiers"),
        (["--iou-threshold", "nan", str(pictures[0])], "iou_threshold: must be from 0 to 1"),
        (["--max-detections", "many", str(pictures[0])], "must be an integer"),
        (["--loud", str(pictures[0])], "--loud: is unknown"),
        (["--model", str(pictures[0]), str(pictures[0])], "ONNX Runtime cannot load the model"),
    ):
        done = run(onnx.example(whole, *arguments))
        assert done.returncode == 1
        assert told in done.stderr


def test_a_package_of_another_format_is_refused_by_name(tflite: Cpp, whole: Path, pictures: list[Path]) -> None:
    done = run(tflite.example(whole, str(pictures[0])))
    assert done.returncode == 1
    assert 'model_info.export_format: "onnx"; this build runs: tflite' in done.stderr
