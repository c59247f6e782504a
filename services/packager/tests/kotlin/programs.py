"""What of Kotlin only tests compile: the probe, and with it all that is for Android or Gradle, against stand-ins of their classes."""

import platform
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from packager.toolchains.downloads import fetch, once
from packager.toolchains.kotlin import Kotlin, compile_sources, kotlin_files
from packager.toolchains.tools import digest, needed, run

HERE = Path(__file__).parent
DOCS = HERE.parents[3] / "docs" / "wrappers" / "kotlin.md"
TEMPLATES = ("kotlin-jvm.md", "kotlin-android.md")
STUBS = HERE / "stubs"
SHIPPED = (
    "runtimes/kotlin/backends/LiteRt.kt",
    "runtimes/kotlin/platform/AndroidPictures.kt",
    "runtimes/kotlin/tests",
    "samples/android/app/src/main/kotlin",
)
"""Of what packages bring, that which the wrapper's own build leaves out."""


class Program(NamedTuple):
    """The compiled probe; `natives` is the library behind the stand-in of LiteRT's interpreter."""

    jar: Path
    stubs: Path
    natives: Path
    kotlin_test: Path

    def command(self, wrapper: Kotlin) -> list[str]:
        command = wrapper.command("modelport.probe.ProbeKt", classpath=[self.jar, self.stubs, self.kotlin_test])
        return [command[0], f"-Dlitert.native={self.natives}", *command[1:]]


def documented() -> dict[str, str]:
    """The programs that documents show, each in a package of its own, by the name of their file."""
    found = {}
    with as_file(files("packager") / "templates" / "languages") as root:
        for page in (DOCS, *(root / name for name in TEMPLATES)):
            (code,) = re.findall(r"^```kotlin\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
            name = page.stem.replace("-", "_")
            found[f"{name}.kt"] = f"package documented.{name}\n\n{code}"
    return found


def build(wrapper: Kotlin, cache: Path) -> Program:
    """All of it compiled, unless `cache` has it."""
    libraries = fetch("kotlin-compiler", cache) / "package" / "lib"
    with as_file(files("packager")) as root:
        sources = [HERE / "Probe.kt", HERE / "LiteRtProbe.kt", *(root / name for name in SHIPPED)]
        natives = sorted([*STUBS.rglob("*.java"), *STUBS.rglob("*.c")])
        pages = [DOCS, *(root / "templates" / "languages" / name for name in TEMPLATES)]
        edition = digest([wrapper.jar.parent, *kotlin_files(sources), *natives, *pages, Path(__file__)])
        made = once(cache, f"kotlin-probe-{edition}", lambda folder: _make(wrapper, cache, sources, libraries, folder))
    return Program(made / "probe.jar", made / "stubs", made / "liblitert_stub.so", libraries / "kotlin-test.jar")


def _make(wrapper: Kotlin, cache: Path, sources: list[Path], libraries: Path, folder: Path) -> None:
    stubs = folder / "stubs"
    run(
        [
            needed("javac", "openjdk-17-jdk-headless"),
            "-Werror",
            "-d",
            str(stubs),
            *map(str, sorted(STUBS.rglob("*.java"))),
        ]
    )
    tests = [libraries / "kotlin-test.jar", libraries / "kotlin-test-junit5.jar"]
    shown = folder / "documented"
    shown.mkdir()
    for name, code in documented().items():
        (shown / name).write_text(code, encoding="utf-8")
    compile_sources(cache, [*sources, shown], folder / "probe.jar", friends=[wrapper.jar], classpath=[stubs, *tests])
    _link_interpreter(cache, folder / "liblitert_stub.so")


def _link_interpreter(cache: Path, target: Path) -> None:
    library = fetch("tensorflowlite-c", cache) / "pymicro_wakeword" / "lib"
    headers = Path(needed("javac", "openjdk-17-jdk-headless")).resolve().parents[1] / "include"
    includes = [f"-I{headers}", f"-I{headers / platform.system().lower()}"]
    links = [f"-L{library}", "-ltensorflowlite_c", f"-Wl,-rpath,{library}"]
    source = str(STUBS / "litert" / "litert_jni.c")
    run(
        [
            needed("gcc", "gcc"),
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            *includes,
            source,
            "-o",
            str(target),
            *links,
        ]
    )
