"""Formats of several files as one stored object: a zip whose bytes depend on the files alone."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_CHUNK = 1 << 20


def bundle(target: Path, files: Mapping[str, Path]) -> None:
    """Write `target`: the files by their names inside, sorted, deflated, without dates or owners."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _PLAIN_FILE, 3
            with files[name].open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
