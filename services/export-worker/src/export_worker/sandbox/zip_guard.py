"""Refuses a stranger's zip of a model that would write elsewhere, grow without end or hold what nobody expects."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from contracts.errors import Permanent
from servicekit.zips import require_short_directory

MAX_RATIO = 1100
"""Deflate cannot do more than 1032 to 1: whoever says so lies about a size."""
MAX_MEMBER = 16 << 30


class Member(NamedTuple):
    """A file that the zip must hold: how long it may be, and who reads it whole, where somebody does."""

    max_bytes: int = MAX_MEMBER
    inspect: Callable[[bytes], None] | None = None


def check(path: Path, wanted: Mapping[str, Member]) -> dict[str, int]:
    """The zip holds exactly the members `wanted`, plain files of sane sizes; returns the bytes that each claims to have.

    Nothing is read before its size is known to be allowed. Raises Permanent("conversion_failed") that names what is wrong.
    """
    try:
        require_short_directory(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != sorted(wanted):
                raise refused(path, f"it holds {', '.join(map(ascii, names[:8])) or 'nothing'}")
            for entry in entries:
                member = wanted[entry.filename]
                _require_plain(path, entry, member.max_bytes)
                if member.inspect:
                    member.inspect(archive.read(entry))
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, RuntimeError, EOFError) as error:
        raise refused(path, f"it is no sound zip ({error})") from error
    return {entry.filename: entry.file_size for entry in entries}


def _require_plain(path: Path, entry: zipfile.ZipInfo, max_bytes: int) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or entry.flag_bits & 1 or entry.is_dir():
        raise refused(path, f"{entry.filename} is no plain file")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(path, f"{entry.filename} is packed in an unusual way")
    if entry.file_size > min(max_bytes, MAX_RATIO * max(entry.compress_size, 1)):
        raise refused(path, f"{entry.filename} claims {entry.file_size} bytes")


def refused(path: Path, reason: str) -> Permanent:
    """What the user reads of a file that must not leave."""
    return Permanent("conversion_failed", f"The converter left no usable {path.name}: {reason[:300]}.")
