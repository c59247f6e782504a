"""Unpacks a stranger's zip: nothing outside the folder, no links, no bombs, and only the kinds of files that a model needs."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from contracts.errors import Permanent

MAX_ENTRIES = 500
MAX_RATIO = 200
SMALL = 1 << 20
"""Files below this size may have any ratio: JSON compresses well."""
CHUNK = 1 << 20
WANTED = frozenset({".json", ".safetensors", ".bin", ".txt"})


def unpack(path: Path, folder: Path, max_bytes: int) -> Path:
    """The folder that holds config.json, unpacked below `folder`.

    Raises Permanent("checkpoint_unreadable") for an archive that is damaged, hostile or no model folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(entries, max_bytes)
            _extract(archive, [entry for entry in entries if _wanted(entry)], folder, max_bytes)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _refused(f"the archive is damaged: {error}") from error
    configs = sorted(folder.rglob("config.json"), key=lambda found: len(found.parts))
    if not configs:
        raise _refused("the archive has no config.json")
    return configs[0].parent


def _check(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _refused(f"the archive has {len(entries)} entries, more than {MAX_ENTRIES}")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in name:
            raise _refused(f"the entry {name[:80]!r} points outside the folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _refused(f"the entry {name[:80]!r} is a link")
        if entry.flag_bits & 1:
            raise _refused(f"the entry {name[:80]!r} is encrypted")
        key = str(PurePosixPath(name)).casefold()
        if key in seen:
            raise _refused(f"the entry {name[:80]!r} is there twice")
        seen.add(key)
        if entry.file_size > SMALL and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise _refused(f"the entry {name[:80]!r} is compressed more than {MAX_RATIO} times")
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise _refused(f"the archive unpacks to more than {max_bytes} bytes")


def _wanted(entry: zipfile.ZipInfo) -> bool:
    return not entry.is_dir() and PurePosixPath(entry.filename).suffix in WANTED


def _extract(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], folder: Path, max_bytes: int) -> None:
    """Counts what really comes out: the sizes in the directory are the author's words."""
    left = max_bytes
    for entry in entries:
        target = folder.joinpath(*PurePosixPath(entry.filename).parts)
        if not target.resolve().is_relative_to(folder.resolve()):
            raise _refused(f"the entry {entry.filename[:80]!r} points outside the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as made:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise _refused(f"the archive unpacks to more than {max_bytes} bytes")
                made.write(chunk)


def _refused(reason: str) -> Permanent:
    return Permanent("checkpoint_unreadable", f"The checkpoint cannot be unpacked: {reason}.")
