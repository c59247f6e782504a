"""The one way in which the files of a package lie in its zip: every byte that is not of a file follows from names, sizes and CRCs.

Sorted names, nothing compressed, no comment, no time, no owner; sizes and places of 64 bits where the zip format asks for them.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from modelport.packages.errors import PackageError

LIMIT = (1 << 31) - 1
"""Beyond it a size or place has 64 bits."""
MAX_FILES = 4096
MAX_DIRECTORY = 4 << 20
END_BYTES, LOCATOR_BYTES, END64_BYTES = 22, 20, 56
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_SHORT, _LONG = 20, 45
_UNIX, _UTF8 = 3, 0x800
_DAY = 1 << 5 | 1
"""The first of January 1980."""
_FULL = 0xFFFFFFFF
_PLAIN, _PROGRAM = 0o100644 << 16, 0o100755 << 16


class Entry(NamedTuple):
    """A file: its path in the package, its bytes, their CRC-32."""

    name: str
    size: int
    crc: int


class Placed(NamedTuple):
    """Where an entry's header and its bytes begin."""

    entry: Entry
    header: int
    data: int

    @property
    def end(self) -> int:
        return self.data + self.entry.size


def checked(names: Sequence[str]) -> None:
    """Raises PackageError unless all are paths that stay inside a package, sorted, each once and none below another."""
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name or not name.isprintable():
            raise PackageError(f"{name!r} is no path for a file of a package.")
    known = set(names)
    if list(names) != sorted(known):
        raise PackageError("The files are not sorted by name, or one is there twice.")
    for name in names:
        if any(str(folder) in known for folder in PurePosixPath(name).parents):
            raise PackageError(f"{name!r} lies below a file.")


def placed(entries: Sequence[Entry], limit: int = LIMIT) -> Iterator[Placed]:
    """Where each of the entries lies, in their order."""
    at = 0
    for entry in entries:
        data = at + len(local_header(entry, limit))
        yield Placed(entry, at, data)
        at = data + entry.size


def local_header(entry: Entry, limit: int = LIMIT) -> bytes:
    """What stands before the entry's bytes."""
    is_long = entry.size * 1.05 > limit
    extra = struct.pack("<HHQQ", 1, 16, entry.size, entry.size) if is_long else b""
    size = _FULL if is_long else entry.size
    name, flags = _encoded(entry.name)
    version = _LONG if is_long else _SHORT
    fixed = (b"PK\3\4", version, 0, flags, 0, 0, _DAY, entry.crc, size, size, len(name), len(extra))
    return _LOCAL.pack(*fixed) + name + extra


def ending(places: Sequence[Placed], limit: int = LIMIT) -> bytes:
    """Everything behind the last entry's bytes."""
    start = places[-1].end if places else 0
    directory = b"".join(_central(place, limit) for place in places)
    count, size = len(places), len(directory)
    long = b""
    if start > limit:
        long = _END64.pack(b"PK\6\6", 44, _LONG, _LONG, 0, 0, count, count, size, start)
        long += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    short = min(start, _FULL) if long else start
    return directory + long + _END.pack(b"PK\5\6", 0, 0, count, count, size, short, 0)


def _central(place: Placed, limit: int) -> bytes:
    entry = place.entry
    long: tuple[int, ...] = (entry.size, entry.size) if entry.size > limit else ()
    size = _FULL if long else entry.size
    long += (place.header,) if place.header > limit else ()
    header = _FULL if place.header > limit else place.header
    extra = struct.pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
    name, flags = _encoded(entry.name)
    version = _LONG if long or entry.size * 1.05 > limit else _SHORT
    mode = _PROGRAM if entry.name.endswith(".sh") else _PLAIN
    fixed = (b"PK\1\2", version, _UNIX, version, 0, flags, 0, 0, _DAY, entry.crc, size, size)
    return _CENTRAL.pack(*fixed, len(name), len(extra), 0, 0, 0, mode, header) + name + extra


def _encoded(name: str) -> tuple[bytes, int]:
    return (name.encode("ascii"), 0) if name.isascii() else (name.encode(), _UTF8)


class Directory(NamedTuple):
    """Where a zip says that its directory is; nothing of it is believed before it is compared with `ending`."""

    start: int
    size: int
    files: int


def directory(tail: bytes) -> Directory:
    """Read from the last `END64_BYTES + LOCATOR_BYTES + END_BYTES` of a zip; raises PackageError for anything else."""
    if len(tail) < END_BYTES:
        raise PackageError("It is no zip: it is too short.")
    magic, _, _, _, count, size, start, _ = _END.unpack(tail[-END_BYTES:])
    if magic != b"PK\5\6":
        raise PackageError(
            "It is no zip of a package: it does not end as one; is it cut off, or is there something behind it?"
        )
    before = tail[:-END_BYTES]
    if (
        len(before) == END64_BYTES + LOCATOR_BYTES
        and before.startswith(b"PK\6\6")
        and before[END64_BYTES:].startswith(b"PK\6\7")
    ):
        *_, count, size, start = _END64.unpack(before[:END64_BYTES])
    if count > MAX_FILES or size > MAX_DIRECTORY:
        raise PackageError(f"A package has at most {MAX_FILES} files and a list of {MAX_DIRECTORY} bytes.")
    return Directory(start, size, count)


def listed(data: bytes, count: int) -> list[Entry]:
    """The entries of a directory, as it tells of them; raises PackageError where it cannot be read."""
    entries, at = [], 0
    try:
        for _ in range(count):
            magic, *_, crc, _, size, length, more, comment, _, _, _, _ = _CENTRAL.unpack_from(data, at)
            if magic != b"PK\1\2":
                raise PackageError("Its list of files is damaged.")
            at += _CENTRAL.size
            name, extra = data[at : at + length].decode(), data[at + length : at + length + more]
            if size == _FULL:
                [size] = struct.unpack_from("<Q", extra, 4)
            entries.append(Entry(name, size, crc))
            at += length + more + comment
    except (struct.error, UnicodeDecodeError) as error:
        raise PackageError("Its list of files is damaged.") from error
    return entries
