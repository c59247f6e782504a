"""Deterministic zips: the same files give the same bytes, on any day, machine and release of zlib."""

import re
import shutil
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN, _PROGRAM = 0o100644, 0o100755
_UNIX = 3
_COPY_BYTES = 1 << 20
_PART_BYTES, _NAME_BYTES = 255, 1024
_FORBIDDEN = re.compile(r'[<>:"|?*\\]')
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever follows the dot."""


def write(target: Path, members: Mapping[str, Path]) -> None:
    """Write the files, by their path in the archive, to `target`; streamed.

    Names are sorted, times and attributes fixed, nothing compressed (weights hardly shrink, and compressed bytes differ
    between releases of zlib). Raises ValueError for paths that `checked` refuses, and for two that one file system or
    another takes for the same.
    """
    require_distinct(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in sorted(members):
            source = members[name]
            entry = zipfile.ZipInfo(checked(name), EPOCH)
            entry.compress_type = zipfile.ZIP_STORED
            entry.create_system = _UNIX
            entry.external_attr = (_PROGRAM if name.endswith(".sh") else _PLAIN) << 16
            entry.file_size = source.stat().st_size
            with source.open("rb") as reader, archive.open(entry, "w") as writer:
                shutil.copyfileobj(reader, writer, _COPY_BYTES)


def written(folder: Path, texts: Mapping[str, bytes]) -> dict[str, Path]:
    """Put the files below `folder`; where each lies, by its path in the archive. Raises ValueError as `write` does."""
    paths = {name: folder / checked(name) for name in texts}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(texts[name])
    return paths


def checked(name: str) -> str:
    """The name, if every system unpacks it to the same place below its folder.

    Raises ValueError for a path that is absolute or leaves the folder, and for names that Windows cannot have, that do not print,
    or that are spelt in another form than NFC, in which macOS would unpack them.
    """
    parts = name.split("/")
    if not all(map(_is_plain, parts)) or not name.isprintable() or len(name.encode()) > _NAME_BYTES:
        raise ValueError(f"{name!r} is no path for a package")
    return name


def require_distinct(names: Iterable[str]) -> None:
    """Raises ValueError where two paths differ in case alone, or one is a folder of another."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in sorted(names):
        same = _folded(name)
        above = [same[:at] for at, char in enumerate(same) if char == "/"]
        other = files.get(same) or folders.get(same) or next((files[one] for one in above if one in files), None)
        if other is not None:
            raise ValueError(f"{name!r} and {other!r} cannot lie in one package")
        files[same] = name
        folders |= dict.fromkeys(above, name)


def _is_plain(part: str) -> bool:
    """Whether a part of a path names one and the same file everywhere."""
    return (
        part not in ("", ".", "..")
        and part[-1] not in ". "
        and part[0] != " "
        and not _FORBIDDEN.search(part)
        and not _DEVICE.fullmatch(part)
        and unicodedata.is_normalized("NFC", part)
        and len(part.encode(errors="replace")) <= _PART_BYTES
    )


def _folded(name: str) -> str:
    """One spelling for all that file systems without case take for the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold()).casefold()
