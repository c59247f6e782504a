"""Models of several files: stored as one zip, lying in a package as their runtime opens them.

The zip comes out of a sandbox that ran a stranger's checkpoint, so it is read as hostile: exactly the files that the format
has, each once and plain, of a bounded size, and nothing is written whose name is not known beforehand.
"""

import struct
import zipfile
import zlib
from pathlib import Path

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat
from servicekit.zips import require_short_directory

MAX_BYTES = 16 << 30
"""Of all files of one model."""
_COPY_BYTES = 1 << 20
_KINDS = 0o170000
_PLAIN = (0, 0o100000)
_PACKAGE = "model.mlpackage"

ZIPPED: dict[ExportFormat, dict[str, bool]] = {
    ExportFormat.OPENVINO: {"model.bin": True, "model.xml": True},
    ExportFormat.COREML: {
        f"{_PACKAGE}/Data/com.apple.CoreML/model.mlmodel": True,
        f"{_PACKAGE}/Data/com.apple.CoreML/weights/weight.bin": False,
        f"{_PACKAGE}/Manifest.json": True,
    },
}
"""Files of a model by their path in the zip and in the package, and whether each must be there."""


def unpack(export_format: ExportFormat, stored: Path, folder: Path, max_bytes: int) -> dict[str, Path]:
    """The files of a stored model, written below `folder`, by their path in the package and sorted.

    Raises Permanent("packaging_failed") for a zip that is anything else than what the format's converter writes.
    """
    try:
        require_short_directory(stored)
        with zipfile.ZipFile(stored) as archive:
            return _extracted(archive, ZIPPED[export_format], folder, max_bytes)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(f"it cannot be read ({error})") from error


def _extracted(archive: zipfile.ZipFile, expected: dict[str, bool], folder: Path, max_bytes: int) -> dict[str, Path]:
    entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or not set(names) <= set(expected):
        raise _refused(f"it holds {names[:5]}")
    missing = [name for name, needed in expected.items() if needed and name not in names]
    if missing:
        raise _refused(f"{missing[0]} is missing")
    written, left = {}, max_bytes
    for entry in entries:
        if (entry.external_attr >> 16) & _KINDS not in _PLAIN or entry.flag_bits & 1 or entry.header_offset < 0:
            raise _refused(f"{entry.filename} is not a plain file")
        target = folder / entry.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        left -= _copy(archive, entry, target, left)
        written[entry.filename] = target
    return written


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int) -> int:
    """How many bytes were written; counted, because what an entry says of its size may be a lie."""
    copied = 0
    with archive.open(entry) as reader, target.open("wb") as writer:
        while block := reader.read(_COPY_BYTES):
            copied += len(block)
            if copied > limit:
                raise _refused("its files are larger than a model may be")
            writer.write(block)
    if copied != entry.file_size:
        raise _refused(f"{entry.filename} has {copied} bytes and claims {entry.file_size}")
    return copied


def _refused(reason: str) -> Permanent:
    return Permanent("packaging_failed", f"The stored model is not what its format's converter writes: {reason}.")
