"""Where the files of a package are read from: its zip, held to the one way of writing it, or a folder that it was unpacked into.

Nothing is extracted, nothing is believed of what a zip says of itself, and no more than a piece of a file is in memory.
"""

import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from modelport.packages import layout
from modelport.packages.errors import PackageError

CHUNK = 1 << 20
STRANGE = "Packages hold no links: remove what was put into the folder (a virtual environment?), or check the zip."


class Source(Protocol):
    """The files of one package."""

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file by its path in the package, sorted by path."""

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of one file; raises PackageError where the container around them is damaged."""


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The files of a zip or of a folder; raises PackageError for what is neither, or no package."""
    if path.is_dir():
        yield Folder(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield Zip(file)


def whole(source: Source, name: str, limit: int) -> bytes:
    """One small file; raises PackageError where it is missing or larger than `limit`."""
    if name not in source.sizes:
        raise PackageError(f"The package has no {name}.")
    if source.sizes[name] > limit:
        raise PackageError(f"{name} has {source.sizes[name]} bytes, {limit} are allowed.")
    return b"".join(source.pieces(name))


class Zip:
    """A zip whose every byte outside its files is compared when it is opened, and every CRC when a file is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        entries = self._entries()
        layout.checked([entry.name for entry in entries])
        places = list(layout.placed(entries))
        self._places = {place.entry.name: place for place in places}
        self._compare(places)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: place.entry.size for name, place in self._places.items()}

    def pieces(self, name: str) -> Iterator[bytes]:
        place = self._places[name]
        at, crc = place.data, 0
        while at < place.end:
            piece = self._read(at, min(CHUNK, place.end - at))
            at, crc = at + len(piece), zlib.crc32(piece, crc)
            yield piece
        if crc != place.entry.crc:
            raise PackageError(f"{name} is damaged: its CRC-32 is not the one that the zip tells.")

    def _entries(self) -> list[layout.Entry]:
        self._length = self._file.seek(0, os.SEEK_END)
        tail = min(self._length, layout.END64_BYTES + layout.LOCATOR_BYTES + layout.END_BYTES)
        found = layout.directory(self._read(self._length - tail, tail))
        if found.start + found.size > self._length:
            raise PackageError("Its list of files lies outside the zip.")
        return layout.listed(self._read(found.start, found.size), found.files)

    def _compare(self, places: list[layout.Placed]) -> None:
        """Raises PackageError where a byte outside the files is another one than it has to be."""
        end = places[-1].end if places else 0
        ending = layout.ending(places)
        if end + len(ending) != self._length:
            raise PackageError(f"The zip has {self._length} bytes, and its files need {end + len(ending)}.")
        for place in places:
            if self._read(place.header, place.data - place.header) != layout.local_header(place.entry):
                raise PackageError(f"The zip is not written as packages are, before {place.entry.name}.")
        if self._read(end, len(ending)) != ending:
            raise PackageError("The zip is not written as packages are, in its list of files.")

    def _read(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        data = self._file.read(count)
        if len(data) != count:
            raise PackageError("The zip is cut off.")
        return data


class Folder:
    """An unpacked package: plain files and folders, no links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes = dict(sorted(self._walk(root, "")))
        layout.checked(list(self._sizes))

    @property
    def sizes(self) -> dict[str, int]:
        return self._sizes

    def pieces(self, name: str) -> Iterator[bytes]:
        with (self._root / name).open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from self._walk(folder / entry.name, f"{prefix}{entry.name}/")
                elif stat.S_ISREG(found.st_mode):
                    yield prefix + entry.name, found.st_size
                else:
                    raise PackageError(f"{prefix}{entry.name} is neither a file nor a folder.", STRANGE)
