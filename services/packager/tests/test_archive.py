"""Deterministic zips."""

import hashlib
import os
import zipfile

import pytest

from packager import archive


def test_the_same_files_give_the_same_bytes_whatever_their_age_mode_and_order(tmp_path):
    digests = []
    for round_number, names in enumerate((["b/two.txt", "a.txt"], ["a.txt", "b/two.txt"])):
        folder = tmp_path / str(round_number)
        members = {}
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name * 100)
            path.chmod(0o600 + round_number * 0o44)
            os.utime(path, (round_number * 1e9, round_number * 1e9))
            members[name] = path
        target = folder / "out.zip"
        archive.write(target, members)
        digests.append(hashlib.sha256(target.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    with zipfile.ZipFile(tmp_path / "0" / "out.zip") as made:
        assert made.namelist() == ["a.txt", "b/two.txt"]
        assert made.testzip() is None
        assert {entry.date_time for entry in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        made.extractall(tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "b" / "two.txt").read_text() == "b/two.txt" * 100


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a\\b", "a//b", "./a", "a\nb", ""])
def test_paths_that_leave_the_archive_are_refused(name, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="no path"):
        archive.write(tmp_path / "out.zip", {name: path})
