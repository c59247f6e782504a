"""The C++ wrapper's programs for one runtime: the shipped CMake project built with the compiler and the libraries that are here.

What is common to all runtimes is compiled once, as one unit, in a build folder that they share. Programs find their libraries in the
Python environment that built them, so each environment has its own.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from contracts.vocabulary import ExportFormat
from packager.toolchains.downloads import ToolchainError, fetch, locked, once
from packager.toolchains.tools import digest, installed_onnxruntime, needed, run

ONNX_RUNTIME, OPENVINO, LIBTORCH, LITERT = "onnxruntime", "openvino", "libtorch", "litert"
BACKENDS: dict[ExportFormat, str] = {
    ExportFormat.ONNX: ONNX_RUNTIME,
    ExportFormat.OPENVINO: OPENVINO,
    ExportFormat.TORCHSCRIPT: LIBTORCH,
    ExportFormat.TFLITE: LITERT,
}
"""What runs a format; nothing here can build against TensorRT, whose headers no registry has."""
PROGRAMS = ("verify", "example")
_COMMON = "common.cmake"
_SAME_FOR_ALL = "add_compile_definitions(_GLIBCXX_USE_CXX11_ABI=1)\n"
"""OpenVINO's project files add this one: given to all, it makes nothing to be compiled anew."""
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_UNITY_BUILD=ON",
    "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0",
    "-DCMAKE_BUILD_RPATH=$ORIGIN/lib",
    "-DMODELPORT_WARNINGS_AS_ERRORS=ON",
    "-DMODELPORT_PACKAGE:STRING=.",
)
"""For CMake: one unit a program, warnings as errors, libraries beside the program."""


class Cpp(Struct, frozen=True, kw_only=True):
    """The built wrapper: its programs, and the folders beside the system's own that they read."""

    folder: Path
    libraries: tuple[Path, ...]

    @property
    def program(self) -> Path:
        return self.folder / "verify"

    @property
    def reads(self) -> tuple[Path, ...]:
        """What a sandbox has to show to the programs beside the package."""
        return self.folder, *self.libraries

    def verify(self, package: Path, *options: str) -> list[str]:
        """The command that repeats the golden vectors of an unpacked package; `--without-model` and `--json` are its options."""
        return [str(self.program), *options, str(package)]

    def example(self, package: Path, *arguments: str) -> list[str]:
        """The command that prints the predictions of pictures."""
        return [str(self.folder / "example"), "--package", str(package), *arguments]


class Runtime(Struct, frozen=True, kw_only=True):
    """A runtime that is here: what CMake is told of it, what tells it apart, and where its libraries lie."""

    options: tuple[str, ...]
    release: str
    libraries: tuple[Path, ...]
    sonames: tuple[tuple[str, Path], ...] = ()
    """Libraries that are asked for by another name than their file's."""


def build(backend: str, cache: Path) -> Cpp:
    """The shipped sources built for a runtime, unless `cache` has them.

    Raises ToolchainError for a missing tool, library or runtime, and for sources that do not compile.
    """
    if backend not in RUNTIMES:
        raise ToolchainError(f"{backend} cannot be built here; what can: {', '.join(RUNTIMES)}")
    cmake = needed("cmake", "cmake")
    runtime = RUNTIMES[backend](cache)
    with as_file(files("packager") / "runtimes" / "cpp") as root:
        edition = digest([*cpp_files(root), Path(__file__)], *surroundings())
        name = f"cpp-{backend}-{digest([], edition, runtime.release)}"
        made = once(
            cache, name, lambda folder: _make(cmake, cache / f"cpp-build-{edition}", root, backend, runtime, folder)
        )
    return Cpp(folder=made, libraries=runtime.libraries)


def _make(cmake: str, tree: Path, root: Path, backend: str, runtime: Runtime, folder: Path) -> None:
    with _tree(tree, root):
        options = [
            *OPTIONS,
            f"-DCMAKE_PROJECT_INCLUDE={tree / _COMMON}",
            f"-DMODELPORT_BACKEND={backend}",
            *runtime.options,
        ]
        run([cmake, "-S", str(tree / "source"), "-B", str(tree / "build"), *options])
        run([cmake, "--build", str(tree / "build")])
        for program in PROGRAMS:
            shutil.copy2(tree / "build" / program, folder)
    link_names(folder, runtime)


def link_names(folder: Path, runtime: Runtime) -> None:
    """Names beside the programs under which they ask for their libraries."""
    (folder / "lib").mkdir()
    for soname, library in runtime.sonames:
        (folder / "lib" / soname).symlink_to(library)


@contextmanager
def _tree(tree: Path, root: Path) -> Iterator[None]:
    """The build folder to oneself, with the sources in it."""
    with locked(tree.with_name(f".{tree.name}.lock")):
        if not (tree / _COMMON).exists():
            shutil.rmtree(tree, ignore_errors=True)
            shutil.copytree(root, tree / "source")
            (tree / _COMMON).write_text(_SAME_FOR_ALL, encoding="utf-8")
        yield


def cpp_files(root: Path) -> list[Path]:
    """The sources and build files, in order."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def surroundings() -> tuple[str, str]:
    """What programs depend on beside their sources and their runtime: the compiler, and the environment that they find libraries in."""
    return compiler_release(), sys.prefix


def compiler_release() -> str:
    """What the C++ compiler calls itself."""
    answer = subprocess.run([needed("g++", "g++"), "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.partition("\n")[0]


def _onnx_runtime(cache: Path) -> Runtime:
    """The native library of Python's package, with the headers of a release of the same C API."""
    library = installed_onnxruntime()
    headers = fetch("onnxruntime-android", cache) / "headers"
    return Runtime(
        options=(f"-DONNXRUNTIME_INCLUDE_DIR={headers}", f"-DONNXRUNTIME_LIBRARY={library}"),
        release=f"{headers.parent.name} {library.name}",
        libraries=(library.parent,),
        sonames=(("libonnxruntime.so.1", library),),
    )


def _openvino(cache: Path) -> Runtime:
    root = installed("openvino")
    return Runtime(
        options=(f"-DOpenVINO_DIR={root / 'cmake'}",), release=release("openvino", root), libraries=(root / "libs",)
    )


def _libtorch(cache: Path) -> Runtime:
    """Of a build of torch for CUDA some of the libraries that it loads lie in packages beside it."""
    root = installed("torch")
    beside = [folder for folder in (root.parent / "nvidia",) if folder.is_dir()]
    return Runtime(
        options=(f"-DLIBTORCH_ROOT={root}",), release=release("torch", root), libraries=(root / "lib", *beside)
    )


def _litert(cache: Path) -> Runtime:
    root = fetch("tensorflowlite-c", cache)
    (library,) = root.rglob("libtensorflowlite_c.so")
    return Runtime(options=(f"-DLITERT_LIBRARY={library}",), release=root.name, libraries=(library.parent,))


RUNTIMES: dict[str, Callable[[Path], Runtime]] = {
    ONNX_RUNTIME: _onnx_runtime,
    OPENVINO: _openvino,
    LIBTORCH: _libtorch,
    LITERT: _litert,
}


def installed(name: str) -> Path:
    """The folder of a Python package, which is not imported; ToolchainError where it is not installed."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ToolchainError(f"{name}: its native library is not here; pip install {name}")
    return Path(found.origin).parent


def release(name: str, root: Path) -> str:
    """The version of a package, or where it lies if it tells none."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} {root}"
