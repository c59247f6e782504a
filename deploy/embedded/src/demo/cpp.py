"""The package's C++ wrapper, compiled while the export runs and asked for the same picture; or the reason why it cannot be."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from contracts.vocabulary import ExportFormat
from demo.package import Package, predictions, run
from modelport.predictions import Prediction
from packager.toolchains import cpp
from packager.toolchains.downloads import ToolchainError, default_cache

LACKS_SHOWN = 300


class CppRun(Struct, frozen=True):
    """What the C++ wrapper found; `lacks` says what is not here where it could not be built."""

    predictions: list[Prediction]
    lacks: str = ""

    @property
    def found(self) -> tuple[list[Prediction], ...]:
        """Its list, where there is one to be compared."""
        return () if self.lacks else (self.predictions,)


@contextmanager
def compiling(export_format: ExportFormat) -> Iterator[Future[cpp.Cpp]]:
    """The programs for a format, built in a thread; those of an earlier run are there at once."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(cpp.build, cpp.BACKENDS[export_format], default_cache())


def predict(programs: Future[cpp.Cpp], package: Package, picture: Path) -> CppRun:
    """Waits for the compiler; DemoError where the wrapper was built and fails."""
    try:
        built = programs.result()
    except ToolchainError as error:
        return CppRun([], " ".join(str(error).split())[:LACKS_SHOWN])
    return CppRun(predictions(run(built.example(package.folder, str(picture)))))
