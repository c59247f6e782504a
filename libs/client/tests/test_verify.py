"""A package is right only as its maker signed it: whatever is changed, added, left out or claimed is found."""

import json
import os
import random
import stat
import sys
import tracemalloc
import zipfile

import pytest

from contracts import keys
from modelport.packages import diff, goldens, trust
from modelport.packages.errors import PackageError
from modelport.packages.report import Outcome
from packager import archive

from .packages import members, signer, zipped
from .verifying import SOMEBODY, checked, failure, unpacked, written

BIG = 96 << 20


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return zipped(tmp_path_factory.mktemp("package"), SOMEBODY)


@pytest.fixture(scope="module")
def content(package):
    return package.read_bytes()


def test_a_package_is_right_as_a_zip_and_as_a_folder(package, tmp_path):
    for path in (package, unpacked(package, tmp_path / "folder")):
        report = checked(path, python=sys.executable)
        assert [(check.name, check.outcome) for check in report.checks] == [
            ("archive", Outcome.PASSED),
            ("signature", Outcome.PASSED),
            ("files", Outcome.PASSED),
            (goldens.NAME, Outcome.PASSED),
        ]
        assert report.checks[-1].detail == "1 of 1 checks passed"
        assert (report.model, report.export_format, report.key_id) == ("tiny", "onnx", SOMEBODY.key_id)
    assert not list((tmp_path / "folder").rglob("__pycache__"))


def test_one_flipped_bit_anywhere_outside_the_files_is_found(package, content, tmp_path):
    inside = set()
    with zipfile.ZipFile(package) as opened:
        for entry in opened.infolist():
            start = entry.header_offset + 30 + len(entry.filename.encode())
            inside |= set(range(start, start + entry.file_size))
    outside = [place for place in range(len(content)) if place not in inside]
    assert len(outside) > 1000
    assert_each_flip_is_found(outside, content, tmp_path)


def test_one_flipped_bit_anywhere_is_found(content, tmp_path):
    assert_each_flip_is_found(random.Random(5).sample(range(len(content)), 2000), content, tmp_path)


def assert_each_flip_is_found(places, content, folder):
    path, chance = written(folder, content), random.Random(7)
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(bytes([content[place] ^ 1 << chance.randrange(8)]))
            file.flush()
            assert checked(path).has_failed, place
            file.seek(place)
            file.write(content[place : place + 1])
            file.flush()
    assert not checked(path).has_failed


def test_one_flipped_bit_in_any_file_of_a_folder_is_found(package, tmp_path):
    folder, chance = unpacked(package, tmp_path / "folder"), random.Random(11)
    for path in [found for found in folder.rglob("*") if found.is_file() and found.stat().st_size]:
        content = path.read_bytes()
        for place in chance.sample(range(len(content)), min(len(content), 60)):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
            )
            assert checked(folder).has_failed, (path, place)
        path.write_bytes(content)
    assert not checked(folder).has_failed


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b" ",
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data.replace(b'"tlogEntries":[]', b'"tlogEntries":[],"more":1'),
        lambda data: data.replace(b'"keyid":""', b'"keyid":"x"'),
        lambda data: b"",
        lambda data: b"{}",
    ],
)
def test_a_signature_that_says_the_same_in_other_bytes_is_refused(change, package, tmp_path):
    folder = unpacked(package, tmp_path / "folder")
    signature = folder / keys.SIGNATURE
    changed = change(signature.read_bytes())
    assert changed != signature.read_bytes()
    signature.write_bytes(changed)
    assert failure(folder)[0] == "signature"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content + b"\0",
        lambda content: content + content,
        lambda content: b"\0" + content,
        lambda content: content[:-2] + b"\4\0note",
    ],
)
def test_what_is_cut_off_or_added_is_found(change, content, tmp_path):
    assert failure(written(tmp_path, change(content)))[0] == "archive"


def test_the_same_files_in_another_zip_are_no_package(package, tmp_path):
    """Compressed, in another order, dated, with a comment of a file: each can be unpacked, none is what was delivered."""
    with zipfile.ZipFile(package) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    for change in ("order", "deflated", "date", "mode", "comment", "twice"):
        target = tmp_path / f"{change}.zip"
        with zipfile.ZipFile(target, "w") as made:
            for name in sorted(files, reverse=change == "order"):
                entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0) if change == "date" else archive.EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED if change == "deflated" else zipfile.ZIP_STORED
                entry.external_attr = (
                    0o100777 if change == "mode" else 0o100755 if name.endswith(".sh") else 0o100644
                ) << 16
                entry.comment = b"note" if change == "comment" else b""
                made.writestr(entry, files[name])
            if change == "twice":
                with pytest.warns(UserWarning, match="Duplicate"):
                    made.writestr("README.md", "another")
        assert failure(target)[0] == "archive", change


def test_swapped_names_are_found(package, tmp_path):
    with zipfile.ZipFile(package) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    files["README.md"], files["model.onnx"] = files["model.onnx"], files["README.md"]
    folder = tmp_path / "swapped"
    archive.write(tmp_path / "swapped.zip", archive.written(folder, files))
    assert failure(tmp_path / "swapped.zip") == ("files", "README.md is not the file that was signed.")


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        (lambda f: (f / "more.txt").write_text("x"), "files", "Files that nobody signed: more.txt."),
        (lambda f: (f / "empty.txt").unlink(), "files", "Files are missing: empty.txt."),
        (lambda f: (f / keys.SIGNATURE).unlink(), "signature", "The package is unsigned"),
        (lambda f: (f / "link").symlink_to("README.md"), "archive", "link is neither a file nor a folder."),
        (lambda f: os.mkfifo(f / "pipe"), "archive", "pipe is neither a file nor a folder."),
    ],
)
def test_a_folder_holds_what_was_signed_and_nothing_else(change, name, sentence, package, tmp_path):
    folder = unpacked(package, tmp_path / "folder")
    change(folder)
    found = failure(folder)
    assert found[0] == name
    assert found[1].startswith(sentence)


def test_what_was_put_into_an_unpacked_folder_is_told_how_to_mend(package, tmp_path):
    for number, change in enumerate(
        (lambda f: (f / "picture.jpg").write_text("x"), lambda f: (f / "lib64").symlink_to("."))
    ):
        change(folder := unpacked(package, tmp_path / f"folder{number}"))
        [found] = [check for check in checked(folder).checks if check.outcome is Outcome.FAILED]
        assert "check the zip" in found.hint


def test_bytecode_left_by_a_use_is_named_as_such(package, tmp_path):
    folder = unpacked(package, tmp_path / "folder")
    (folder / "runtimes/python/__pycache__").mkdir()
    (folder / "runtimes/python/__pycache__/verify.cpython-311.pyc").write_bytes(b"x")
    [found] = [check for check in checked(folder).checks if check.outcome is Outcome.FAILED]
    assert "__pycache__" in found.hint


def test_a_signature_by_anybody_else_is_not_believed(package, tmp_path):
    stranger = signer()
    name, sentence = failure(package, trusted=(stranger.public_key,))
    assert name == "signature"
    assert SOMEBODY.key_id in sentence
    assert "which you do not trust" in sentence
    assert "you trust no key yet" in failure(package, trusted=())[1]
    forged = zipped(tmp_path, stranger)
    assert SOMEBODY.key_id[:16] in failure(forged)[1]


def test_a_key_id_of_somebody_else_does_not_help_a_forger(tmp_path):
    stranger = signer()
    files = members(tmp_path / "forged", stranger)
    signature = files[keys.SIGNATURE].read_bytes()
    files[keys.SIGNATURE].write_bytes(signature.replace(stranger.key_id.encode(), SOMEBODY.key_id.encode()))
    archive.write(tmp_path / "forged.zip", files)
    name, sentence = failure(tmp_path / "forged.zip")
    assert name == "signature"
    assert "is not one of the key" in sentence


def test_keys_of_a_rotation_are_trusted_side_by_side(package, tmp_path):
    later = signer()
    for path in (package, zipped(tmp_path, later)):
        assert not checked(path, trusted=(later.public_key, SOMEBODY.public_key)).has_failed


def test_an_unsigned_package_fails_unless_that_is_allowed_and_says_so(tmp_path):
    path = zipped(tmp_path, None)
    assert failure(path)[1] == "The package is unsigned: nothing shows who made it."
    report = checked(path, allow_unsigned=True)
    assert not report.has_failed
    assert report.key_id == ""
    assert "unsigned" in report.checks[1].detail
    folder = unpacked(path, tmp_path / "folder")
    (folder / "model.onnx").write_bytes(b"another")
    assert failure(folder, allow_unsigned=True) == ("files", "model.onnx is not the file that was signed.")


def test_a_package_whose_signature_was_taken_away_is_not_passed_as_unsigned(package, tmp_path):
    with zipfile.ZipFile(package) as opened:
        files = {name: opened.read(name) for name in opened.namelist() if name != keys.SIGNATURE}
    archive.write(tmp_path / "stripped.zip", archive.written(tmp_path / "files", files))
    name, sentence = failure(tmp_path / "stripped.zip", allow_unsigned=True)
    assert name == "files"
    assert "the signature was removed" in sentence


def test_memory_does_not_grow_with_the_package(tmp_path):
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(BIG)
    path = zipped(tmp_path, SOMEBODY, large={"model.bin": tmp_path / "weights"})
    folder = unpacked(path, tmp_path / "folder")
    for package in (path, folder):
        tracemalloc.start()
        try:
            report = checked(package)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert not report.has_failed
        assert peak < 16 << 20


def test_trusted_keys_are_kept_side_by_side(tmp_path):
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    first, second = signer().public_key, signer().public_key
    assert trust.trusted((), environ) == ()
    assert trust.save([first], environ)[1] == (first,)
    assert trust.save([first, second], environ)[1] == (second,)
    assert trust.trusted((), environ) == (first, second)
    assert not stat.S_IMODE(trust.trusted_file(environ).stat().st_mode) & 0o022
    given = tmp_path / "one.pem"
    given.write_text(second.pem)
    assert trust.trusted([given], environ) == (second,)


def test_a_description_nested_without_end_is_refused_in_words():
    with pytest.raises(PackageError, match=r"metadata\.json cannot be read"):
        diff.decoded(b'{"model_info":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "a.zip")
