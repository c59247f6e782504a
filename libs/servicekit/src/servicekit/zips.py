"""A stranger's zip before `zipfile` opens it: zipfile reads the whole list of files, however long, before it is asked anything."""

import struct
import zipfile
from pathlib import Path

MAX_DIRECTORY_BYTES = 64 << 10
_END, _END64, _LOCATOR_BYTES = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), 20
_TAIL_BYTES = _END64.size + _LOCATOR_BYTES + _END.size
"""The end of a zip: the record of large archives, if it is one, where that lies, and the record of all archives."""


def require_short_directory(path: Path, max_bytes: int = MAX_DIRECTORY_BYTES) -> None:
    """Raises zipfile.BadZipFile for what is no zip, has a comment or lists more than `max_bytes` of file names."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        tail = file.read().rjust(_TAIL_BYTES, b"\0")
    *_, listed, _, comment = _END.unpack_from(tail, _TAIL_BYTES - _END.size)
    if tail[-_END.size :][:4] != b"PK\x05\x06" or comment:
        raise zipfile.BadZipFile("it is no zip, or has a comment")
    if tail[_END64.size :][:4] == b"PK\x06\x07":
        *_, listed, _ = _END64.unpack_from(tail)
    if listed > max_bytes:
        raise zipfile.BadZipFile("it lists far more files than the format has")
