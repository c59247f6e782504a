"""The files of an export package as they lie in the store, taken out to make other packages of them."""

import asyncio
from pathlib import Path
from uuid import UUID

import msgspec

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import FileDigest, ModelMetadata
from packager import archive
from servicekit.objects import ObjectStore
from servicekit.tasks import end

CONCURRENT_DOWNLOADS = 8
METADATA_BYTES = 64 << 20


async def fetch(
    store: ObjectStore, job_id: UUID, model: ModelMetadata, folder: Path, *, model_max_bytes: int
) -> dict[str, Path]:
    """Stream every file that `model` lists into `folder`, by their path in the package.

    Raises Permanent `packaging_failed` unless each of them, and metadata.json itself, is what the export stated.
    """
    if not model.files:
        raise Permanent("packaging_failed", "the export's metadata lists no files", hint="Export the model again.")
    if too_large := next((file for file in model.files if file.size_bytes > model_max_bytes), None):
        sentence = f"{too_large.path} has {too_large.size_bytes} bytes, {model_max_bytes} are allowed"
        raise Permanent("packaging_failed", sentence)
    try:
        await _require_stated(store, job_id, model)
        return await _files(store, job_id, model.files, folder)
    except Permanent as error:
        raise Permanent("packaging_failed", error.message, hint="Export the model again.") from error


async def _require_stated(store: ObjectStore, job_id: UUID, model: ModelMetadata) -> None:
    stored = await store.get_bytes(keys.export_file(job_id, keys.METADATA), METADATA_BYTES)
    try:
        is_same = msgspec.json.decode(stored, type=ModelMetadata) == model
    except msgspec.DecodeError:
        is_same = False
    if not is_same:
        raise Permanent("packaging_failed", f"the stored {keys.METADATA} is not the one that the export stated")


async def _files(store: ObjectStore, job_id: UUID, files: tuple[FileDigest, ...], folder: Path) -> dict[str, Path]:
    gate = asyncio.Semaphore(CONCURRENT_DOWNLOADS)

    async def get(file: FileDigest, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        async with gate:
            key = keys.export_file(job_id, file.path)
            await store.get_file(key, path, max_bytes=file.size_bytes, sha256=file.sha256)

    paths = {file.path: folder / _checked(file.path) for file in files}
    running = [asyncio.create_task(get(file, paths[file.path])) for file in files]
    try:
        await asyncio.gather(*running)
    finally:
        await end(*running)
    return paths


def _checked(name: str) -> str:
    try:
        return archive.checked(name)
    except ValueError as error:
        raise Permanent("packaging_failed", str(error)) from error
