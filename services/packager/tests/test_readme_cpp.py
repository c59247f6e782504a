"""The C++ lines of a package's README: CMake takes them as they stand, in the package and in a project of one's own."""

import re
import subprocess
import zipfile

import pytest

from packager.toolchains.downloads import default_cache, fetch
from packager.toolchains.tools import installed_onnxruntime, needed


def blocks(text, language):
    section = re.split(r"\n##+ ", text.partition("### C++\n")[2])[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run(command, folder):
    done = subprocess.run(["bash", "-ec", command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
async def unpacked(make, assemble, tmp_path):
    package = await assemble(make(detects=True))
    with zipfile.ZipFile(package.zip) as archive:
        archive.extractall(tmp_path / "package")
    return tmp_path / "package"


@pytest.fixture
def onnxruntime(tmp_path):
    """A folder of include and lib, as ONNX Runtime's releases are."""
    root = tmp_path / "onnxruntime"
    (root / "lib").mkdir(parents=True)
    (root / "include").symlink_to(fetch("onnxruntime-android", default_cache()) / "headers")
    (root / "lib" / "libonnxruntime.so").symlink_to(installed_onnxruntime())
    return root


@pytest.mark.slow
def test_cmake_takes_the_readme_s_lines(unpacked, onnxruntime):
    needed("cmake", "cmake")
    text = (unpacked / "README.md").read_text()
    (commands,), (project,), (program,) = (blocks(text, language) for language in ("sh", "cmake", "cpp"))
    configure, build, test, example = commands.replace("/opt/onnxruntime", str(onnxruntime)).splitlines()
    told = run(configure, unpacked)
    assert "Modelport runs the model with onnxruntime" in told
    assert (build, test) == ("cmake --build build", "ctest --test-dir build --output-on-failure")
    targets = run("cmake --build build --target help", unpacked)
    assert example.split()[0] == "build/example"
    assert re.search(r"\bexample\b", targets)
    assert "Test #1: verify" in run("ctest --test-dir build -N", unpacked)

    own = unpacked / "CMakeLists.txt"
    (unpacked / "main.cpp").write_text(program)
    own.write_text(f"cmake_minimum_required(VERSION 3.19)\nproject(own CXX)\nadd_executable(yours main.cpp)\n{project}")
    run(f"cmake -S . -B own -DONNXRUNTIME_ROOT={onnxruntime}", unpacked)
    run("g++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -Iruntimes/cpp main.cpp", unpacked)
