"""What is fetched to build and prove wrappers: pinned by release and SHA-256, kept outside the repository, shared by processes.

Registries are asked by their own tools (`npm pack`, `pip download`), so that whatever mirror a machine has set up is used.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, NamedTuple

INSIDE = "!/"
"""Parts the path of an archive from a path within it."""
ATTEMPT_S = 900.0
_SHOWN = 2000


class ToolchainError(Exception):
    """A toolchain cannot be had or does not work; the message says which, why and what installs it."""


class ToolMissing(ToolchainError):
    """A program of the system is not installed; the message names the Debian package that brings it."""


class Download(NamedTuple):
    """One archive of a registry and what is kept of it.

    `keep` are patterns of paths (`*` also crosses folders); `outer.aar!/headers/*` reaches into an archive within the archive. A kept
    file lies below the fetched folder at its path within the innermost archive.
    """

    name: str
    how: str
    spec: str
    sha256: str
    keep: tuple[str, ...]


_AAR = f"package/Plugins/Android/onnxruntime.aar{INSIDE}"
_JAR = f"*/anserini-1.7.1-fatjar.jar{INSIDE}ai/onnxruntime"

DOWNLOADS: dict[str, Download] = {
    download.name: download
    for download in (
        Download(
            "kotlin-compiler",
            "npm",
            "kotlin-compiler@2.4.20",
            "c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f",
            ("package/lib/*.jar",),
        ),
        Download(
            "onnxruntime-android",
            "npm",
            "com.github.asus4.onnxruntime@0.4.9",
            "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d",
            (f"{_AAR}headers/*", f"{_AAR}classes.jar", "package/LICENSE", "package/ThirdPartyNotices.txt"),
        ),
        Download(
            "onnxruntime-jvm",
            "pip",
            "pyserini==1.6.0",
            "e34761d700b33613c26bc61113effc6d65598dee6ada28a33214f79350f833f4",
            (f"{_JAR}/*.class", f"{_JAR}/native/linux-x64/*.so"),
        ),
        Download(
            "tensorflowlite-c",
            "pip",
            "pymicro-wakeword==2.5.0",
            "3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c",
            ("pymicro_wakeword/lib/libtensorflowlite_c.so",),
        ),
    )
}
"""`headers/*.h` and `classes.jar` of ONNX Runtime 1.29; its Java API and JNI 1.17 for the JVM; the C API of LiteRT 2.17.1."""


def default_cache() -> Path:
    """`$MODELPORT_CACHE/toolchains`, by default `~/.cache/modelport/toolchains`."""
    chosen = os.environ.get("MODELPORT_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "modelport") / "toolchains"


def fetch(name: str, cache: Path) -> Path:
    """The folder of what is kept of a download, fetched unless `cache` has it; safe for several processes at once.

    Raises ToolchainError where the registry's tool is missing, the registry does not answer, or the bytes are not those pinned.
    """
    download = DOWNLOADS[name]
    edition = hashlib.sha256("\n".join((download.sha256, *download.keep)).encode()).hexdigest()[:16]
    return once(cache, f"{name}-{edition}", lambda folder: _fetch(download, folder))


def once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `cache/name`, made by `make(empty folder)` where it is not there; another process waits for the first."""
    target = cache / name
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f".{name}.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                make(made)
                made.rename(target)
    return target


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The only process, and the only thread, that holds this file; another one waits."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(download: Download, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = TOOLS[download.how](download, Path(scratch))
        check(archive, download)
        unpack(archive, download.keep, folder)


def check(archive: Path, download: Download) -> None:
    """Raises ToolchainError unless the file has the pinned SHA-256."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != download.sha256:
        raise ToolchainError(
            f"{download.name}: {download.spec} has the SHA-256 {found}, pinned is {download.sha256}; it is not used"
        )


def _npm(download: Download, folder: Path) -> Path:
    return _run(["npm", "pack", "--silent", "--ignore-scripts", download.spec], download, folder)


def _pip(download: Download, folder: Path) -> Path:
    """pip checks the digest too, before it runs anything of a source distribution."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{download.spec} --hash=sha256:{download.sha256}\n", encoding="utf-8")
    arguments = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--requirement",
        str(wanted),
    ]
    return _run([sys.executable, "-m", "pip", "download", *arguments], download, folder)


TOOLS: dict[str, Callable[[Download, Path], Path]] = {"npm": _npm, "pip": _pip}


def _run(command: list[str], download: Download, folder: Path) -> Path:
    """The one archive that the command writes into an empty folder of its own."""
    where = folder / "archive"
    where.mkdir()
    if shutil.which(command[0]) is None:
        raise ToolMissing(
            f"{download.name}: needs {command[0]}, which is not installed (on Debian: apt-get install npm)"
        )
    try:
        done = subprocess.run(
            command, cwd=where, capture_output=True, text=True, errors="replace", timeout=ATTEMPT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{download.name}: {download.spec} did not come within {ATTEMPT_S:.0f} s") from error
    files = list(where.iterdir())
    if done.returncode or len(files) != 1:
        raise ToolchainError(f"{download.name}: cannot fetch {download.spec}: {(done.stderr or done.stdout)[-_SHOWN:]}")
    return files[0]


def unpack(archive: Path, keep: tuple[str, ...], into: Path) -> None:
    """Write the kept files of an archive below `into`; ToolchainError where a pattern matches none of them."""
    missing = set(keep)
    for name, stream in _files(archive):
        matching = [pattern for pattern in keep if fnmatchcase(name, pattern.partition(INSIDE)[0])]
        missing.difference_update(matching)
        within = tuple(rest for pattern in matching if (rest := pattern.partition(INSIDE)[2]))
        if within:
            with tempfile.NamedTemporaryFile(dir=into.parent) as inner:
                shutil.copyfileobj(stream, inner)
                inner.flush()
                unpack(Path(inner.name), within, into)
        elif matching:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file)
    if missing:
        raise ToolchainError(f"{archive.name} holds nothing like {', '.join(sorted(missing))}")


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as stream:
                        yield info.filename, stream
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file
