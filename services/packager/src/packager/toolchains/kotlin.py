"""The Kotlin wrapper compiled once, and the command that runs it on a package: Java, a pinned kotlinc, ONNX Runtime's JNI.

The sources are checked against the API of ONNX Runtime's newest release for Android, and run with that of 1.17 for the JVM, whose JNI
a shim of ours lets drive the native library that Python's package brings.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from msgspec import Struct

from packager.toolchains.downloads import fetch, once
from packager.toolchains.tools import digest, installed_onnxruntime, needed, run

VERIFY, EXAMPLE = "modelport.verify.VerifyKt", "modelport.ExampleKt"
JVM_SOURCES = (
    "ModelWrapper.kt",
    "Example.kt",
    "backends/Backend.kt",
    "backends/OnnxRuntime.kt",
    "platform/JvmPictures.kt",
    "processing",
    "verify",
)
"""What a program on the JVM is made of, below runtimes/kotlin; the rest is for Android."""
FLAGS = ("-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""For programs that are over in seconds."""
COMPILER_FLAGS = ("-Xmx1g", *FLAGS[1:])
_MAP = "VERS_1.17.0 { global: *; };\n"


class Kotlin(Struct, frozen=True, kw_only=True):
    """The compiled wrapper: what runs it, with which variables, and the folders that it reads."""

    java: str
    classpath: tuple[Path, ...]
    natives: Path
    onnxruntime: Path

    @property
    def jar(self) -> Path:
        return self.classpath[0]

    @property
    def environment(self) -> Mapping[str, str]:
        """Beside what a process has: the native library that the shim opens."""
        return {"ORT_REAL": str(self.onnxruntime)}

    @property
    def reads(self) -> tuple[Path, ...]:
        """What a sandbox has to show to the program beside the package and Java itself."""
        return tuple(dict.fromkeys([*(path.parent for path in self.classpath), self.natives, self.onnxruntime.parent]))

    def command(self, main: str, *arguments: str, classpath: Sequence[Path] = ()) -> list[str]:
        """A program of the wrapper, or of a jar before it on the class path."""
        where = os.pathsep.join(map(str, (*classpath, *self.classpath)))
        return [self.java, *FLAGS, f"-Donnxruntime.native.path={self.natives}", "-cp", where, main, *arguments]

    def verify(self, package: Path, *options: str) -> list[str]:
        """The command that repeats the golden vectors of an unpacked package; `--without-model` and `--json` are its options."""
        return self.command(VERIFY, *options, str(package))


def build(cache: Path, onnxruntime: Path | None = None) -> Kotlin:
    """The shipped sources compiled, unless `cache` has them; `onnxruntime` is the native library, by default that of Python's package.

    Raises ToolchainError for a missing tool and for sources that do not compile.
    """
    java = needed("java", "openjdk-17-jdk-headless")
    compiler, runtime = fetch("kotlin-compiler", cache), fetch("onnxruntime-jvm", cache)
    with as_file(files("packager") / "runtimes" / "kotlin") as root:
        sources = [root / name for name in JVM_SOURCES]
        edition = digest([*kotlin_files(sources), compiler, runtime, Path(__file__)])
        made = once(cache, f"kotlin-wrapper-{edition}", lambda folder: _make(cache, sources, folder))
    return Kotlin(
        java=java,
        classpath=(made / "wrapper.jar", stdlib(compiler), runtime),
        natives=made / "native",
        onnxruntime=onnxruntime or installed_onnxruntime(),
    )


def _make(cache: Path, sources: Sequence[Path], folder: Path) -> None:
    android = fetch("onnxruntime-android", cache) / "classes.jar"
    compile_sources(cache, sources, folder / "wrapper.jar", classpath=[android])
    _link_shim(fetch("onnxruntime-jvm", cache), folder / "native")


def compile_sources(
    cache: Path, sources: Sequence[Path], jar: Path, *, classpath: Sequence[Path] = (), friends: Sequence[Path] = ()
) -> None:
    """kotlinc with warnings as errors; `friends` are jars of the class path whose internals the sources may use."""
    compiler = fetch("kotlin-compiler", cache)
    libraries = sorted((compiler / "package" / "lib").glob("*.jar"))
    paths = os.pathsep.join(map(str, (stdlib(compiler), *friends, *classpath)))
    options = ["-no-stdlib", "-no-reflect", "-Werror", "-jvm-target", "17", "-cp", paths, "-d", str(jar)]
    options += [f"-Xfriend-paths={','.join(map(str, friends))}"] if friends else []
    run([
        needed("java", "openjdk-17-jdk-headless"),
        *COMPILER_FLAGS,
        "-cp",
        os.pathsep.join(map(str, libraries)),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        *options,
        *map(str, sources),
    ])  # fmt: skip


def _link_shim(runtime: Path, natives: Path) -> None:
    natives.mkdir()
    for library in (runtime / "ai/onnxruntime/native/linux-x64").glob("*4j_jni.so"):
        shutil.copy(library, natives)
    versions = natives / "versions.map"
    versions.write_text(_MAP, encoding="utf-8")
    with as_file(files("packager") / "toolchains" / "onnxruntime_shim.c") as source:
        names = ["-Wl,-soname,libonnxruntime.so.1.17.0", f"-Wl,--version-script={versions}"]
        target = ["-o", str(natives / "libonnxruntime.so")]
        run([needed("gcc", "gcc"), "-shared", "-fPIC", "-Wall", "-Werror", str(source), *target, *names, "-ldl"])


def stdlib(compiler: Path) -> Path:
    """Kotlin's own library, which every program needs."""
    return compiler / "package" / "lib" / "kotlin-stdlib.jar"


def kotlin_files(sources: Iterable[Path]) -> list[Path]:
    """The files that are compiled, folders taken apart."""
    return sorted(found for path in sources for found in (path.rglob("*.kt") if path.is_dir() else [path]))
