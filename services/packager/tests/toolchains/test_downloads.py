"""Downloads of toolchains: checked, unpacked, kept, shared; the registries' tools are stood in for here."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from packager.toolchains import downloads
from packager.toolchains.downloads import DOWNLOADS, Download, ToolchainError, fetch


def archive_bytes():
    """A tgz that holds a plain file, one that nobody wants, and a zip in which two more files lie."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("headers/a.h", "a")
        zipped.writestr("jni/big.so", "so")
    with tarfile.open(fileobj=outer, mode="w:gz") as tar:
        files = {"package/LICENSE": b"free", "package/unwanted": b"", "package/it.aar": inner.getvalue()}
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return outer.getvalue()


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """The path of an archive that a stand-in of npm hands out under the name `thing`, with the file that counts the calls."""
    archive, calls = tmp_path / "thing.tgz", tmp_path / "calls"
    archive.write_bytes(archive_bytes())

    def hand_out(download, folder):
        calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
        copy = folder / "copy.tgz"
        copy.write_bytes(archive.read_bytes())
        return copy

    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    keep = ("package/LICENSE", "package/*.aar!/headers/*")
    monkeypatch.setitem(DOWNLOADS, "thing", Download("thing", "npm", "thing@1", digest, keep))
    monkeypatch.setitem(downloads.TOOLS, "npm", hand_out)
    return archive, calls


def kept(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept_is_unpacked_once(offered, tmp_path):
    folder = fetch("thing", tmp_path / "cache")
    assert kept(folder) == {"package/LICENSE": b"free", "headers/a.h": b"a"}
    assert fetch("thing", tmp_path / "cache") == folder
    assert offered[1].read_text() == "x"


def test_other_bytes_are_refused_by_name_and_leave_nothing(offered, tmp_path):
    offered[0].write_bytes(archive_bytes() + b"\0")
    with pytest.raises(ToolchainError, match=r"thing: thing@1 has the SHA-256 [0-9a-f]{64}, pinned is"):
        fetch("thing", tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        path.name for path in (tmp_path / "cache").glob(".thing-*.lock")
    ]


def test_an_archive_without_what_is_wanted_is_refused(offered, monkeypatch, tmp_path):
    wanting = DOWNLOADS["thing"]._replace(keep=("package/*.aar!/headers/*", "package/*.aar!/classes.jar"))
    monkeypatch.setitem(DOWNLOADS, "thing", wanting)
    with pytest.raises(ToolchainError, match=r"nothing like classes\.jar"):
        fetch("thing", tmp_path / "cache")


def test_a_missing_tool_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolchainError, match=r"kotlin-compiler: needs npm, which is not installed.*apt-get install npm"
    ):
        fetch("kotlin-compiler", tmp_path / "cache")


def test_a_refusal_of_the_registry_is_told(monkeypatch, tmp_path):
    tool = tmp_path / "npm"
    tool.write_text("#!/bin/sh\necho 'no such release' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ToolchainError, match=r"cannot fetch kotlin-compiler@2\.4\.20: no such release"):
        fetch("kotlin-compiler", tmp_path / "cache")


def test_two_processes_make_one_folder(tmp_path):
    """Each says what it found; the one that makes it waits until the other has asked for the same."""
    program = """
import sys, pathlib, time
from packager.toolchains.downloads import once
cache, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def make(folder):
    (cache / f"made-by-{name}").touch()
    (folder / "file").write_text(name)
(cache / f"ready-{name}").touch()
while len(list(cache.glob("ready-*"))) < 2: time.sleep(0.01)
print((once(cache, "it", make) / "file").read_text())
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    answers = {process.communicate(timeout=60)[0].strip() for process in both}
    makers = [path.name.removeprefix("made-by-") for path in tmp_path.glob("made-by-*")]
    assert [process.returncode for process in both] == [0, 0]
    assert answers == set(makers)
    assert len(makers) == 1


@pytest.mark.parametrize("download", DOWNLOADS.values(), ids=lambda download: download.name)
def test_every_download_is_pinned(download):
    assert re.fullmatch(r"[0-9a-f]{64}", download.sha256)
    assert re.fullmatch(r"[a-z0-9.-]+(@|==)\d+\.\d+\.\d+", download.spec)
    assert download.how in downloads.TOOLS


def test_no_registry_is_named():
    source = Path(downloads.__file__).read_text(encoding="utf-8")
    assert not re.search(r"https?:|npmjs|pypi\.|\.org", source)


def test_the_cache_is_outside_the_repository_unless_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("MODELPORT_CACHE", raising=False)
    assert Path.home() in downloads.default_cache().parents
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    assert downloads.default_cache() == tmp_path / "toolchains"
