"""The files of an export's stored package, taken out to make other packages of them."""

import asyncio
import hashlib
import zipfile
import zlib
from pathlib import Path
from uuid import UUID

import msgspec

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import FileDigest, ModelMetadata
from packager import archive
from servicekit.objects import ObjectStore
from servicekit.zips import require_short_directory

METADATA_BYTES = 64 << 20
"""Of metadata.json, of provenance and of the zip's own words."""
_COPY_BYTES = 1 << 20


async def fetch(
    store: ObjectStore, job_id: UUID, model: ModelMetadata, folder: Path, *, model_max_bytes: int
) -> dict[str, Path]:
    """Stream the export's zip and take every file that `model` lists out into `folder`, by their path in the package.

    Raises Permanent `packaging_failed` unless each of them, and metadata.json itself, is what the export stated.
    """
    if not model.files:
        raise Permanent("packaging_failed", "the export's metadata lists no files", hint="Export the model again.")
    if too_large := next((file for file in model.files if file.size_bytes > model_max_bytes), None):
        sentence = f"{too_large.path} has {too_large.size_bytes} bytes, {model_max_bytes} are allowed"
        raise Permanent("packaging_failed", sentence, hint="Export the model again.")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    package = folder / keys.PACKAGE
    limit = sum(file.size_bytes for file in model.files) + METADATA_BYTES
    try:
        await store.get_file(keys.export_file(job_id, keys.PACKAGE), package, max_bytes=limit)
        return await asyncio.to_thread(_taken_out, package, model, folder / "files")
    except Permanent as error:
        raise Permanent("packaging_failed", error.message, hint="Export the model again.") from error
    finally:
        await asyncio.to_thread(package.unlink, missing_ok=True)


def _taken_out(package: Path, model: ModelMetadata, folder: Path) -> dict[str, Path]:
    try:
        require_short_directory(package)
        with zipfile.ZipFile(package) as opened:
            _require_stated(opened, model)
            return {file.path: _extracted(opened, file, folder) for file in model.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise Permanent("packaging_failed", f"the stored {keys.PACKAGE} cannot be read ({error})") from error


def _require_stated(package: zipfile.ZipFile, model: ModelMetadata) -> None:
    with package.open(keys.METADATA) as stored:
        text = stored.read(METADATA_BYTES)
    try:
        is_same = msgspec.json.decode(text, type=ModelMetadata) == model
    except msgspec.DecodeError:
        is_same = False
    if not is_same:
        raise Permanent("packaging_failed", f"the stored {keys.METADATA} is not the one that the export stated")


def _extracted(package: zipfile.ZipFile, file: FileDigest, folder: Path) -> Path:
    """One file, equal to its digest; a single byte more than it should have ends the copy."""
    try:
        path = folder / archive.checked(file.path)
    except ValueError as error:
        raise Permanent("packaging_failed", str(error)) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), file.size_bytes
    with package.open(file.path) as reader, path.open("wb") as writer:
        while block := reader.read(_COPY_BYTES):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            writer.write(block)
    if left or digest.hexdigest() != file.sha256:
        raise Permanent("packaging_failed", f"{file.path} is not what the export stated: its SHA-256 differs")
    return path
