"""The C++ wrapper with the compiler's checks in it, and one process of it that answers many questions."""

import json
import os
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from packager.toolchains import cpp
from packager.toolchains.downloads import default_cache, once
from packager.toolchains.tools import digest, needed, run

from ..kotlin.probe import Probe

HERE = Path(__file__).parent
BUILT_FROM = {".h", ".cpp", ".txt"}


@pytest.fixture(scope="session")
def checked() -> Path:
    """The program, compiled once, for ONNX Runtime; it stops at the first fault of memory or arithmetic."""
    cache = default_cache()
    runtime = cpp.RUNTIMES[cpp.ONNX_RUNTIME](cache)
    with as_file(files("packager") / "runtimes" / "cpp") as root:
        sources = [path for path in (*cpp.cpp_files(root), *cpp.cpp_files(HERE)) if path.suffix in BUILT_FROM]
        edition = digest(sources, *cpp.surroundings(), runtime.release)
        options = [*cpp.OPTIONS, "-DCMAKE_BUILD_TYPE=", f"-DWRAPPER={root}", f"-DMODELPORT_BACKEND={cpp.ONNX_RUNTIME}"]
        folder = once(cache, f"cpp-probe-{edition}", lambda made: _make(made, runtime, [*options, *runtime.options]))
    return folder / "probe"


def _make(made: Path, runtime: cpp.Runtime, options: list[str]) -> None:
    cmake, build = needed("cmake", "cmake"), made / "build"
    run([cmake, "-S", str(HERE), "-B", str(build), *options])
    run([cmake, "--build", str(build), "--target", "probe"])
    (build / "probe").rename(made / "probe")
    cpp.link_names(made, runtime)


@pytest.fixture(scope="session")
def probe(checked: Path) -> Iterator[Probe]:
    """Asked for a leak at its end too."""
    running = Probe([str(checked)], dict(os.environ))
    yield running
    assert running.close() == 0


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Writes a metadata.json; its path."""

    def write(metadata: dict[str, Any]) -> str:
        path = tmp_path / "metadata.json"
        path.write_text(json.dumps(metadata), encoding="utf-8")
        return str(path)

    return write
