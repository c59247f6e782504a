"""Models of several files: unpacked where they are what the converter writes, refused otherwise."""

import stat
import struct
import zipfile

import pytest

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat
from packager import models

OPENVINO = {"model.xml": b"<net/>", "model.bin": bytes(1000)}
COREML = {name: name.encode() for name in models.ZIPPED[ExportFormat.COREML]}


def write(path, files, *, kind=stat.S_IFREG, compression=zipfile.ZIP_STORED, comment=b""):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.comment = comment
        for name, data in files:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (kind | 0o644) << 16
            entry.compress_type = compression
            archive.writestr(entry, data)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("export_format", "files"), [(ExportFormat.OPENVINO, OPENVINO), (ExportFormat.COREML, COREML)])
def test_the_files_of_a_model(tmp_path, export_format, files, compression):
    stored = write(tmp_path / "model.zip", files.items(), compression=compression)
    made = models.unpack(export_format, stored, tmp_path / "model", 10_000)
    assert list(made) == sorted(files)
    assert {name: path.read_bytes() for name, path in made.items()} == files
    assert all(path == tmp_path / "model" / name for name, path in made.items())


def test_a_core_ml_model_may_have_no_weights(tmp_path):
    files = {name: data for name, data in COREML.items() if "weight" not in name}
    stored = write(tmp_path / "model.zip", files.items())
    assert list(models.unpack(ExportFormat.COREML, stored, tmp_path / "model", 10_000)) == sorted(files)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({**OPENVINO, "../evil.py": b""}, "holds"),
        ({**OPENVINO, "/etc/passwd": b""}, "holds"),
        ({**OPENVINO, "model.xml/": b""}, "holds"),
        ({**OPENVINO, "metadata.json": b"{}"}, "holds"),
        ({"model.xml": b""}, "model.bin is missing"),
        ({**OPENVINO, "model.bin": bytes(9_995)}, "larger than"),
        ({f"{number}": b"" for number in range(2000)}, "lists far more files"),
    ],
)
def test_other_files_are_refused(tmp_path, files, words):
    stored = write(tmp_path / "model.zip", files.items())
    with pytest.raises(Permanent, match=words) as caught:
        models.unpack(ExportFormat.OPENVINO, stored, tmp_path / "model", 10_000)
    assert caught.value.code == "packaging_failed"
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"model.zip", "model.xml", "model.bin"}


def test_a_bomb_is_stopped_at_the_bound(tmp_path):
    files = {**OPENVINO, "model.bin": bytes(50 << 20)}
    stored = write(tmp_path / "model.zip", files.items(), compression=zipfile.ZIP_DEFLATED)
    assert stored.stat().st_size < 100_000
    with pytest.raises(Permanent, match="larger than"):
        models.unpack(ExportFormat.OPENVINO, stored, tmp_path / "model", 3 << 20)
    assert (tmp_path / "model" / "model.bin").stat().st_size <= 4 << 20


def test_links_and_files_twice_are_refused(tmp_path):
    link = write(tmp_path / "link.zip", OPENVINO.items(), kind=stat.S_IFLNK)
    with pytest.raises(Permanent, match="not a plain file"):
        models.unpack(ExportFormat.OPENVINO, link, tmp_path / "model", 10_000)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = write(tmp_path / "twice.zip", [*OPENVINO.items(), ("model.xml", b"other")])
    with pytest.raises(Permanent, match="holds"):
        models.unpack(ExportFormat.OPENVINO, twice, tmp_path / "model", 10_000)


@pytest.mark.parametrize("damage", ["empty", "no zip", "cut", "comment", "other bytes", "encrypted"])
def test_what_is_no_zip_of_ours_is_refused(tmp_path, damage):
    stored = write(tmp_path / "model.zip", OPENVINO.items(), comment=b"hello" if damage == "comment" else b"")
    data = bytearray(stored.read_bytes())
    if damage == "other bytes":
        data[data.index(b"<net/>")] ^= 1
    elif damage == "encrypted":
        data[data.index(b"PK\x01\x02") + 8] |= 1
    elif damage == "cut":
        del data[:40]
    stored.write_bytes({"empty": b"", "no zip": bytes(500)}.get(damage, bytes(data)))
    with pytest.raises(Permanent) as caught:
        models.unpack(ExportFormat.OPENVINO, stored, tmp_path / "model", 10_000)
    assert caught.value.code == "packaging_failed"


def test_a_long_list_of_files_behind_a_large_archive_s_record_is_not_read(tmp_path):
    """zipfile believes the record of large archives, whatever the short one says."""
    stored = write(tmp_path / "model.zip", OPENVINO.items())
    data = stored.read_bytes()
    end = data[-22:]
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, 1 << 40, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
    stored.write_bytes(data[:-22] + large + locator + end)
    with pytest.raises(Permanent, match="lists far more files"):
        models.unpack(ExportFormat.OPENVINO, stored, tmp_path / "model", 10_000)
