"""Zips of strangers: what would leave the folder, fill the disk or fool the reader is refused."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from contracts.errors import Permanent
from export_worker.frameworks.archive import MAX_ENTRIES, unpack

CONFIG = ("config.json", b"{}")


def archive(folder: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        for name, body in entries:
            made.writestr(name, body)
    return path


def refused(path: Path, folder: Path, limit: int = 1 << 20) -> str:
    with pytest.raises(Permanent) as caught:
        unpack(path, folder / "out", limit)
    assert caught.value.code == "checkpoint_unreadable"
    assert [found for found in folder.rglob("*") if found.name == "escaped.json"] == []
    return caught.value.message


def test_files_lie_flat_or_in_one_folder(tmp_path: Path):
    flat = unpack(archive(tmp_path, CONFIG, ("model.safetensors", b"x")), tmp_path / "a", 1000)
    deep = unpack(archive(tmp_path, ("vit/config.json", b"{}"), ("vit/model.bin", b"x")), tmp_path / "b", 1000)

    assert flat == tmp_path / "a"
    assert deep == tmp_path / "b" / "vit"


def test_only_model_files_are_unpacked(tmp_path: Path):
    folder = unpack(archive(tmp_path, CONFIG, ("modeling.py", b"evil"), ("run.so", b"evil")), tmp_path / "out", 1000)

    assert [file.name for file in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.json",
        "/escaped.json",
        "a/../../escaped.json",
        "..\\escaped.json",
        "C:escaped.json",
        "c:/escaped.json",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str):
    assert "outside" in refused(archive(tmp_path, CONFIG, (name, b"{}")), tmp_path)


def test_a_link_is_refused(tmp_path: Path):
    link = zipfile.ZipInfo("weights.bin")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "link" in refused(archive(tmp_path, CONFIG, (link, b"/etc/passwd")), tmp_path)


def test_a_name_twice_is_refused(tmp_path: Path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive(tmp_path, CONFIG, CONFIG)

    assert "twice" in refused(path, tmp_path)
    assert "twice" in refused(archive(tmp_path, CONFIG, ("CONFIG.json", b"{}")), tmp_path)


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path):
    assert "compressed" in refused(archive(tmp_path, CONFIG, ("model.bin", b"\0" * (8 << 20))), tmp_path, 1 << 30)


def test_too_much_is_refused_by_its_size(tmp_path: Path):
    path = archive(tmp_path, CONFIG, ("model.bin", b"x" * 5000), method=zipfile.ZIP_STORED)

    assert "more than 4000 bytes" in refused(path, tmp_path, 4000)


def test_a_size_that_lies_is_counted(tmp_path: Path):
    path = archive(tmp_path, CONFIG, ("model.bin", b"y" * 900_000))
    body = bytearray(path.read_bytes())
    size = (900_000).to_bytes(4, "little")
    while (at := body.find(size)) >= 0:
        body[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(bytes(body))

    refused(path, tmp_path, 2000)


def test_too_many_entries_are_refused(tmp_path: Path):
    entries = [(f"{number}.json", b"") for number in range(MAX_ENTRIES + 1)]

    assert "entries" in refused(archive(tmp_path, *entries), tmp_path)


def test_a_truncated_or_empty_archive_is_refused(tmp_path: Path):
    whole = archive(tmp_path, CONFIG, ("model.bin", bytes(range(256)) * 64)).read_bytes()
    for cut in (0, 4, len(whole) // 2, len(whole) - 5):
        path = tmp_path / f"cut-{cut}.zip"
        path.write_bytes(whole[:cut])
        refused(path, tmp_path / str(cut))


def test_an_archive_without_a_config_is_refused(tmp_path: Path):
    assert "config.json" in refused(archive(tmp_path, ("model.bin", b"x")), tmp_path)


def test_a_damaged_entry_is_refused(tmp_path: Path):
    path = archive(tmp_path, CONFIG, ("model.bin", bytes(range(256)) * 64), method=zipfile.ZIP_STORED)
    body = bytearray(path.read_bytes())
    body[body.find(bytes(range(200)))] ^= 0xFF
    path.write_bytes(bytes(body))

    assert "damaged" in refused(path, tmp_path)
    assert zipfile.is_zipfile(io.BytesIO(bytes(body)))
