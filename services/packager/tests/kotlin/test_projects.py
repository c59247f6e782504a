"""The Gradle projects of packages, which nothing here can run: what they name is there, and pinned to what the tests compile with."""

import re
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest

from packager.toolchains.downloads import DOWNLOADS
from packager.toolchains.kotlin import JVM_SOURCES

ROOT = Path(str(files("packager")))
WRAPPER, SAMPLE = ROOT / "runtimes" / "kotlin", ROOT / "samples" / "android"
BACKENDS = ("OnnxRuntime", "LiteRt", "NoRuntime")


def included(build: Path, backend: str) -> set[Path]:
    """The wrapper's sources that a build file takes, of those patterns that it includes."""
    text = build.read_text(encoding="utf-8").replace("$backend", backend)
    patterns = [found for found in re.findall(r'"([^"\s]+)"', text) if re.search(r"\.kt$|/\*\*$", found)]
    matched = {
        pattern: [path for path in WRAPPER.glob(re.sub(r"\*\*$", "**/*", pattern)) if path.is_file()]
        for pattern in patterns
    }
    assert patterns
    assert all(matched.values()), matched
    return {path for paths in matched.values() for path in paths}


def test_gradle_on_the_jvm_compiles_what_the_tests_compile():
    tested = {
        path
        for name in JVM_SOURCES
        for path in ([WRAPPER / name] if name.endswith(".kt") else (WRAPPER / name).rglob("*.kt"))
    }
    assert included(WRAPPER / "build.gradle.kts", "OnnxRuntime") == tested


@pytest.mark.parametrize("backend", ["OnnxRuntime", "LiteRt"])
def test_an_android_app_takes_one_backend_and_its_own_pictures(backend):
    names = {str(path.relative_to(WRAPPER)) for path in included(SAMPLE / "app" / "build.gradle.kts", backend)}
    assert {name for name in names if name.startswith(("backends/", "platform/"))} == {
        "backends/Backend.kt",
        f"backends/{backend}.kt",
        "platform/AndroidPictures.kt",
    }
    assert "ModelWrapper.kt" in names
    assert not any(name.startswith("verify/") for name in names)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_defines_the_same(backend):
    text = (WRAPPER / "backends" / f"{backend}.kt").read_text(encoding="utf-8")
    assert len(re.findall(r"^internal const val FORMAT = ", text, re.M)) == 1
    assert len(re.findall(r"^internal fun openBackend\(model: ModelSource, facts: Facts\): Backend =", text, re.M)) == 1


def test_what_is_pinned_is_what_was_compiled_with():
    release = DOWNLOADS["kotlin-compiler"].spec.rpartition("@")[2]
    assert f'kotlin("jvm") version "{release}"' in (WRAPPER / "build.gradle.kts").read_text(encoding="utf-8")
    for path, artefact in (
        (WRAPPER / "build.gradle.kts", "onnxruntime"),
        (SAMPLE / "app/build.gradle.kts", "onnxruntime-android"),
    ):
        assert f'"com.microsoft.onnxruntime:{artefact}:1.29.0"' in path.read_text(encoding="utf-8")


def test_the_build_asks_for_no_java_beside_that_which_runs_gradle():
    """A toolchain of one release is looked for, and without a plugin that downloads it not found where a newer Java is."""
    text = (WRAPPER / "build.gradle.kts").read_text(encoding="utf-8")
    assert "oolchain" not in text
    assert {"sourceCompatibility = JavaVersion.VERSION_17", "targetCompatibility = JavaVersion.VERSION_17"} <= set(
        text.replace("    ", "").splitlines()
    )
    assert "jvmTarget = JvmTarget.JVM_17" in text


def test_tests_bring_the_launcher_that_gradle_9_no_longer_brings():
    text = (WRAPPER / "build.gradle.kts").read_text(encoding="utf-8")
    assert "useJUnitPlatform()" in text
    assert 'testRuntimeOnly("org.junit.platform:junit-platform-launcher")' in text


def test_no_task_reads_the_folder_that_the_build_writes_into():
    """The package holds the project: a task that takes it as a whole has its own output, and that of others, as its input."""
    text = (SAMPLE / "app" / "build.gradle.kts").read_text(encoding="utf-8")
    assert 'val unpacked = rootDir.resolve("../..")' in text
    assert re.findall(r"from\((unpacked(?:\.resolve\([^)]*\))?)", text) == ["unpacked.resolve(modelFile)"]


def test_a_release_keeps_the_classes_that_runtimes_call_by_name():
    """And is not stopped by LiteRT's names of classes that only its GPU delegate's artefact has."""
    build = (SAMPLE / "app" / "build.gradle.kts").read_text(encoding="utf-8")
    (name,) = re.findall(r'"(proguard-rules\.pro)"', build)
    rules = (SAMPLE / "app" / name).read_text(encoding="utf-8")
    used = set()
    for backend in BACKENDS:
        text = (WRAPPER / "backends" / f"{backend}.kt").read_text(encoding="utf-8")
        used |= set(re.findall(r"^import ((?:ai|org)\.[a-z.]+)\.[A-Z]", text, re.M))
    assert set(re.findall(r"^-keep class ([\w.]+)\.\*\* \{ \*; \}$", rules, re.M)) == used
    assert "-dontwarn org.tensorflow.lite.**" in rules.splitlines()


def test_the_screen_says_what_its_strings_hold():
    used = set()
    for path in (SAMPLE / "app/src/main").rglob("*"):
        if path.suffix in (".kt", ".xml"):
            used |= set(re.findall(r"R\.string\.(\w+)|@string/(\w+)", path.read_text(encoding="utf-8")))
    names = {one or other for one, other in used}
    strings = ElementTree.parse(SAMPLE / "app/src/main/res/values/strings.xml").getroot()
    assert names == {entry.attrib["name"] for entry in strings}


def test_the_manifest_starts_the_activity_that_is_compiled():
    manifest = ElementTree.parse(SAMPLE / "app/src/main/AndroidManifest.xml").getroot()
    (activity,) = manifest.iter("activity")
    name = activity.attrib["{http://schemas.android.com/apk/res/android}name"]
    source = (SAMPLE / "app/src/main/kotlin/modelport/sample" / f"{name.removeprefix('.')}.kt").read_text(
        encoding="utf-8"
    )
    assert "package modelport.sample" in source
    assert 'namespace = "modelport.sample"' in (SAMPLE / "app/build.gradle.kts").read_text(encoding="utf-8")


def test_every_source_fits_its_page():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for root in (WRAPPER, SAMPLE)
        for path in root.rglob("*.kt")
    }
    assert len(lengths) > 30
    assert max(lengths.values()) <= 300
