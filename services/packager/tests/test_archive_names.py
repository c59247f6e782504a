"""Names in packages, whatever they are: what is written can be unpacked everywhere, and what cannot is refused."""

import tempfile
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.vocabulary import ExportFormat, TargetPlatform
from packager import archive, edge_package, wrappers

PARTS = st.one_of(
    st.text(min_size=0, max_size=12),
    st.sampled_from(
        ["..", ".", "", "a", "A", "ß", "ẞ", "ss", "é", "e\u0301", "con", "NUL.txt", "lpt1", "x.", " x", "C:", "\\"]
    ),
    st.text(alphabet="aAéE\u0301/\\.: ", max_size=8),
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def is_refused(name: str) -> bool:
    try:
        archive.checked(name)
    except ValueError:
        return True
    return False


@given(NAMES)
@example("model.onnx")
@example(".")
@example("a\u202eb")
@example("\ud800")
def test_a_name_that_is_taken_stays_below_its_folder_on_every_system(name: str) -> None:
    if is_refused(name):
        return
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    assert not posix.is_absolute()
    assert str(posix) == name
    assert not windows.is_absolute()
    assert not windows.drive
    assert not windows.root
    assert not windows.is_reserved()
    assert tuple(windows.parts) == posix.parts
    assert ".." not in posix.parts
    assert name.isprintable()
    assert unicodedata.normalize("NFC", name) == name
    assert all(part == part.rstrip(". ") for part in posix.parts)


@given(st.lists(NAMES, max_size=6, unique=True))
@example(["A.txt", "a.txt"])
@example(["a", "a/b"])
@example(["A", "a/b"])
@example(["straße/x", "STRASSE/x"])
@example(["model.onnx", "runtimes/python/verify.py"])
def test_an_archive_is_written_only_if_every_file_of_it_is_unpacked(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        source = folder / "source"
        source.write_bytes(b"x")
        target = folder / "out.zip"
        try:
            archive.write(target, dict.fromkeys(names, source))
        except ValueError:
            return
        folded = {unicodedata.normalize("NFC", name.casefold()) for name in names}
        assert len(folded) == len(names)
        with zipfile.ZipFile(target) as made:
            assert made.namelist() == sorted(names)
            made.extractall(folder / "unpacked")
        unpacked = [path for path in (folder / "unpacked").rglob("*") if path.is_file()]
        assert {path.relative_to(folder / "unpacked").as_posix() for path in unpacked} == set(names)


DEVICES = ("CON", "con.txt", "a/NUL/b", "Aux.tar.gz", "COM1", "lpt9.h", "COM¹", "CONIN$", "nul .txt")
SIGNS = ("x.", "x ", "a./b", "C:/x", "c:x", "a:b", "a?b", 'a"b', "a|b", "e\u0301", ".", "..", "a\u202eb", "a\x00b")
LENGTHS = ("x" * 256, "é" * 128, "/".join(["long"] * 250))


@pytest.mark.parametrize("name", [*DEVICES, *SIGNS, *LENGTHS])
def test_names_that_some_system_cannot_have_are_refused(name: str) -> None:
    assert is_refused(name)


@pytest.mark.parametrize(
    "name", ["console.txt", "nullable.h", "COM10", "a.b", ".dockerignore", "日本語/ünï 🚀.txt", "x" * 255]
)
def test_names_that_only_look_like_those_are_taken(name: str) -> None:
    assert archive.checked(name) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [("A.txt", "a.txt"), ("a", "a/b"), ("A", "a/b"), ("a/B", "A/b"), ("straße", "STRASSE"), ("ﬁ", "fi")],
)
def test_two_names_for_one_file_are_refused_by_name(one: str, other: str) -> None:
    with pytest.raises(ValueError, match="cannot lie in one package") as caught:
        archive.require_distinct([one, other])
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)


@pytest.mark.parametrize("export_format", ExportFormat)
def test_every_file_of_ours_has_a_name_for_every_system(export_format: ExportFormat) -> None:
    names = [
        *wrappers.sources(export_format),
        *(name for device in TargetPlatform for name in edge_package.sample_files(device)),
    ]
    assert len(names) > 20
    assert [name for name in names if is_refused(name)] == []
    archive.require_distinct(set(names))
