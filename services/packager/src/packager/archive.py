"""Deterministic zips: the same files give the same bytes, on any day, machine and release of zlib."""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN, _PROGRAM = 0o100644, 0o100755
_UNIX = 3
_COPY_BYTES = 1 << 20


def write(target: Path, members: Mapping[str, Path]) -> None:
    """Write the files, by their path in the archive, to `target`; streamed.

    Names are sorted, times and attributes fixed, nothing compressed (weights hardly shrink, and compressed bytes differ
    between releases of zlib). Raises ValueError for a path that is absolute or leaves the archive.
    """
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
    """The name, if it stays below the folder that the archive is unpacked into."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name or not name.isprintable():
        raise ValueError(f"{name!r} is no path for a package")
    return name
