"""`python -m packager.programs [LIST]`: builds every `verify` that can be built here, and lists them for the packager.

The set-up runs it, so that no job waits for a compiler. What cannot be built is told by name with what installs it; that is no error,
because packages then say so.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from contracts.vocabulary import ExportFormat, WrapperLanguage
from packager.proofs.verifiers import PACKAGE, Verifier, digest
from packager.toolchains import cpp, kotlin
from packager.toolchains.downloads import ToolchainError, default_cache

LIST = Path(sys.prefix) / "verifiers.json"
"""Beside the libraries that the programs load, which are those of this Python environment."""
JAVA_SETTINGS = (Path("/etc/java-17-openjdk"), Path("/etc/ssl/certs/java"))
"""Where Debian's Java has its own settings, beside /usr."""
NO_JVM = "LiteRT does not run on the JVM"


def of_cpp(export_format: ExportFormat, cache: Path) -> Verifier:
    """The C++ program for a format; raises ToolchainError."""
    backend = cpp.BACKENDS[export_format]
    built = cpp.build(backend, cache)
    return Verifier(
        language=WrapperLanguage.CPP,
        export_format=export_format,
        command=tuple(built.verify(Path(PACKAGE), "--json")),
        reads=tuple(map(str, built.reads)),
        made_with=f"{cpp.compiler_release()}, {backend}",
        sources=digest(WrapperLanguage.CPP),
    )


def of_kotlin(export_format: ExportFormat, cache: Path) -> Verifier:
    """The Kotlin program, which runs ONNX models alone; raises ToolchainError."""
    built = kotlin.build(cache)
    java, *arguments = built.verify(Path(PACKAGE), "--json")
    settings = (path for path in JAVA_SETTINGS if path.exists())
    return Verifier(
        language=WrapperLanguage.KOTLIN,
        export_format=export_format,
        command=(str(Path(java).resolve()), *arguments),  # not by Debian's link through /etc
        reads=tuple(map(str, (*built.reads, *settings))),
        variables=tuple(built.environment.items()),
        made_with="Kotlin on the JVM" + (", ONNX Runtime" if export_format is ExportFormat.ONNX else ""),
        sources=digest(WrapperLanguage.KOTLIN),
        why_no_model="" if export_format is ExportFormat.ONNX else NO_JVM,
    )


BUILDS: tuple[tuple[str, ExportFormat, Callable[[ExportFormat, Path], Verifier]], ...] = (
    *(("C++", export_format, of_cpp) for export_format in cpp.BACKENDS),
    ("Kotlin", ExportFormat.ONNX, of_kotlin),
    ("Kotlin", ExportFormat.TFLITE, of_kotlin),
)


def built(cache: Path) -> Iterator[Verifier]:
    """Everything that can be built; the rest is told."""
    for name, export_format, build in BUILDS:
        try:
            yield build(export_format, cache)
        except ToolchainError as error:
            sys.stdout.write(f"{name} for {export_format} is not built: {error}\n")
        else:
            sys.stdout.write(f"{name} for {export_format} is built\n")
        sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Write the list whole or not at all."""
    cache = default_cache()
    target = Path(arguments[0]) if arguments else LIST
    found = tuple(built(cache))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}-{os.getpid()}")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    part.replace(target)


if __name__ == "__main__":
    main(sys.argv[1:])
