"""The zip of a package is read by one layout alone, and nothing in it is believed before it was measured."""

import random
import struct
import zipfile
import zlib

import pytest

from modelport.packages import layout
from packager import archive

from .verifying import failure, written


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "a\\b", "a//b", "./a", "a\nb", "", "README.md/x"]
)
def test_paths_that_leave_a_package_are_refused(name, tmp_path):
    entries = [layout.Entry(path, 0, 0) for path in sorted({"README.md", name})]
    places = list(layout.placed(entries))
    made = b"".join(layout.local_header(entry) for entry in entries) + layout.ending(places)
    assert failure(written(tmp_path, made))[0] == "archive"


@pytest.mark.parametrize("claimed", [1 << 40, 0xFFFFFFFE, 100])
def test_a_zip_that_claims_more_than_it_has_is_refused_without_reading_it(claimed, tmp_path):
    entry = layout.Entry("bomb", claimed, 0)
    made = layout.local_header(entry) + layout.ending([layout.Placed(entry, 0, len(layout.local_header(entry)))])
    assert failure(written(tmp_path, made))[0] == "archive"


def test_a_directory_of_a_million_files_is_refused_without_reading_it(tmp_path):
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 0x7FFFFFFF, 0, 0)
    assert "at most" in failure(written(tmp_path, bytes(200) + end))[1]


@pytest.mark.parametrize("limit", [10, 200, 320, 400, 4900, 5000, 5300, 20_000])
def test_the_layout_is_what_the_packager_writes_also_beyond_32_bits(limit, tmp_path, monkeypatch):
    """The module that writes zips is told that sizes need 64 bits much earlier than at 2 GiB."""
    texts = {"a.txt": b"", "b/run.sh": random.Random(1).randbytes(5000), "b/ü.bin": bytes(300), "z": b"z" * 100}
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    archive.write(tmp_path / "made.zip", archive.written(tmp_path / "files", texts))
    entries = [layout.Entry(name, len(texts[name]), zlib.crc32(texts[name])) for name in sorted(texts)]
    places = list(layout.placed(entries, limit))
    ours = b"".join(layout.local_header(entry, limit) + texts[entry.name] for entry in entries)
    assert ours + layout.ending(places, limit) == (tmp_path / "made.zip").read_bytes()
