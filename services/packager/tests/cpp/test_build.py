"""What is only compiled: TensorRT's backend against a stub of its headers, the public header alone; and what the build file refuses."""

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from packager.toolchains import cpp
from packager.toolchains.downloads import ToolchainError, default_cache
from packager.toolchains.tools import needed

SOURCES = Path(str(files("packager"))) / "runtimes" / "cpp"
STUBS = Path(__file__).parent / "stubs"
STRICT = (
    "-std=c++17",
    "-fsyntax-only",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Werror",
)


def told(tool, *arguments):
    done = subprocess.run([needed(tool, tool), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_backend_of_tensorrt_fits_a_stub_of_its_headers():
    assert told("g++", *STRICT, f"-I{SOURCES}", "-isystem", str(STUBS), str(SOURCES / "backends/tensorrt.cpp")) == (
        0,
        "",
    )


def test_the_public_header_needs_nothing_before_it(tmp_path):
    (tmp_path / "user.cpp").write_text('#include "model_wrapper.h"\nint main() { return 0; }\n')
    assert told("g++", *STRICT, f"-I{SOURCES}", str(tmp_path / "user.cpp")) == (0, "")


@pytest.fixture
def package(tmp_path):
    """A package's folder with the build file and metadata alone; what CMake says of it."""
    folder = tmp_path / "runtimes" / "cpp"
    folder.mkdir(parents=True)
    (folder / "CMakeLists.txt").write_bytes((SOURCES / "CMakeLists.txt").read_bytes())

    def configure(metadata, *options):
        (tmp_path / "metadata.json").write_text(json.dumps(metadata))
        return told("cmake", "-S", str(folder), "-B", str(tmp_path / "build"), *options)[1]

    return configure


@pytest.mark.parametrize(
    ("export_format", "needs"),
    [("onnx", "ONNXRUNTIME_INCLUDE_DIR"), ("openvino", "OpenVINO"), ("torchscript", "Torch"), ("tflite", "LITERT_LIBRARY"),
     ("tensorrt", "CUDAToolkit")],
)  # fmt: skip
def test_the_runtime_is_that_of_the_package(package, export_format, needs):
    assert needs in package({"model_info": {"export_format": export_format}})


def test_a_runtime_that_nobody_knows_is_refused(package):
    assert 'MODELPORT_BACKEND is "magic"' in package({}, "-DMODELPORT_BACKEND=magic")
    assert 'MODELPORT_BACKEND is ""' in package({"model_info": {"export_format": "coreml"}}, "-UMODELPORT_BACKEND")


def test_headers_that_are_missing_are_named_with_what_installs_them(package):
    answer = package({"model_info": {"export_format": "onnx"}}, "-DSTB_INCLUDE_DIR=")
    assert "apt-get install nlohmann-json3-dev libstb-dev" in answer


def test_what_cannot_be_built_here_is_refused_by_name():
    with pytest.raises(
        ToolchainError, match="tensorrt cannot be built here; what can: onnxruntime, openvino, libtorch, litert"
    ):
        cpp.build("tensorrt", default_cache())
