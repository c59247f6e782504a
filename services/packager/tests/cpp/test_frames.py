"""The C++ camera sample of edge packages: raw video through a pipe."""

import json
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import keys
from packager import metadata
from packager.toolchains import cpp
from packager.toolchains.downloads import default_cache, once
from packager.toolchains.tools import digest, needed, run
from processing import goldens

from ..conftest import Artefact

SAMPLE = Path("sample_code/camera/cpp")
RUNTIME = Path("runtimes/cpp")
NOISE, GOLDEN = 1e-4, 0.05


@pytest.fixture(scope="session")
def frames() -> Path:
    """The program, compiled once from the files of a package where they lie in it."""
    cache = default_cache()
    runtime = cpp.RUNTIMES[cpp.ONNX_RUNTIME](cache)
    with as_file(files("packager")) as root:
        folders = {SAMPLE: root / "samples" / "camera" / "cpp", RUNTIME: root / RUNTIME}
        sources = [path for folder in folders.values() for path in cpp.cpp_files(folder)]
        edition = digest(sources, *cpp.surroundings(), runtime.release)
        options = [*cpp.OPTIONS, f"-DMODELPORT_BACKEND={cpp.ONNX_RUNTIME}", *runtime.options]
        folder = once(cache, f"cpp-frames-{edition}", lambda made: _make(made, folders, runtime, options))
    return folder / "frames"


def _make(made: Path, folders: dict[Path, Path], runtime: cpp.Runtime, options: list[str]) -> None:
    cmake, package, build = needed("cmake", "cmake"), made / "package", made / "build"
    for inside, folder in folders.items():
        shutil.copytree(folder, package / inside)
    run([cmake, "-S", str(package / SAMPLE), "-B", str(build), *options])
    run([cmake, "--build", str(build), "--target", "frames"])
    (build / "frames").rename(made / "frames")
    shutil.rmtree(build)
    cpp.link_names(made, runtime)


def asked(program: Path, package: Path, arguments: list[str], video: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run((str(program), *arguments), cwd=package, input=video, capture_output=True, timeout=100)


@pytest.fixture
def package(artefact: Artefact, tmp_path: Path) -> Path:
    """What the program reads of a package: the model and metadata.json."""
    folder = tmp_path / "package"
    folder.mkdir()
    shutil.copy(artefact.files["model.onnx"], folder)
    (folder / keys.METADATA).write_bytes(metadata.encode(artefact.metadata))
    return folder


def test_video_gives_the_golden_predictions(frames: Path, package: Path, artefact: Artefact) -> None:
    vectors, arrays = goldens.read(artefact.files[keys.GOLDENS].read_bytes())
    for example in vectors["model"]:
        picture: NDArray[np.uint8] = arrays[example["picture"]]
        height, width, _ = picture.shape
        done = asked(frames, package, [str(width), str(height)], picture.tobytes() * 2)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == 2
        for line in lines:
            assert line["milliseconds"] > 0
            _same(line["predictions"], example["predictions"])


def _same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [one["class_name"] for one in found] == [one["class_name"] for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=NOISE)
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=GOLDEN)


def test_a_threshold_is_obeyed(frames: Path, package: Path) -> None:
    done = asked(frames, package, ["8", "4", "0.9999"], bytes(8 * 4 * 3))
    assert json.loads(done.stdout)["predictions"] == []


@pytest.mark.parametrize(
    ("arguments", "video", "said"),
    [
        ([], b"", b"usage: frames WIDTH HEIGHT"),
        (["8", "0"], b"", b"a side of 0 pixels"),
        (["8", "99999999"], b"", b"a side of 99999999 pixels"),
        (["8", "4"], bytes(95), b"the input ends inside a picture"),
        (["8", "4", "2"], bytes(96), b"confidence"),
    ],
)
def test_what_cannot_be_done_is_told(
    frames: Path, package: Path, arguments: list[str], video: bytes, said: bytes
) -> None:
    done = asked(frames, package, arguments, video)
    assert done.returncode in (1, 2)
    assert said in done.stderr
