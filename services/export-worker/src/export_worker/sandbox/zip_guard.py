"""Refuses a stranger's zip of a model that would write elsewhere, grow without end or hold what nobody expects."""

import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from contracts.errors import Permanent

MAX_RATIO = 1100
"""Deflate cannot do more than 1032 to 1: whoever says so lies about a size."""
MAX_MEMBER = 16 << 30


def check(path: Path, wanted: Mapping[str, Callable[[bytes], None] | None]) -> None:
    """The zip holds exactly the members `wanted`, plain files of sane sizes; those with a check are read and given to it.

    Raises Permanent("conversion_failed") that names what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != sorted(wanted):
                raise refused(path, f"it holds {', '.join(map(ascii, names[:8])) or 'nothing'}")
            for entry in entries:
                _require_plain(path, entry)
                if inspect := wanted[entry.filename]:
                    inspect(archive.read(entry))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, zipfile.LargeZipFile) as error:
        raise refused(path, f"it is no sound zip ({error})") from error


def _require_plain(path: Path, entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or entry.flag_bits & 1 or entry.is_dir():
        raise refused(path, f"{entry.filename} is no plain file")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(path, f"{entry.filename} is packed in an unusual way")
    if entry.file_size > min(MAX_MEMBER, MAX_RATIO * max(entry.compress_size, 1)):
        raise refused(path, f"{entry.filename} claims {entry.file_size} bytes")


def refused(path: Path, reason: str) -> Permanent:
    """What the user reads of a file that must not leave."""
    return Permanent("conversion_failed", f"The converter left no usable {path.name}: {reason[:300]}.")
