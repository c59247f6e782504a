"""Brings a checkpoint from the bucket into the job's `input` folder; it is not opened here."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from msgspec import Struct

from contracts import keys
from contracts.errors import Permanent
from contracts.events import ExportRequestedV1, PreflightRequestedV1
from contracts.vocabulary import Framework
from servicekit.objects import ObjectInfo, ObjectStore
from servicekit.uris import parse_uri

MAX_FILES = 64
Asked = ExportRequestedV1 | PreflightRequestedV1
PERIOD_S = 0.5


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What was fetched: the file or folder below `input`, the digest that names it, and its bytes.

    The digest of a folder is the SHA-256 of its files' lines `<sha256>  <path>\\n` in the order of their paths, as sha256sum writes them.
    """

    path: Path
    sha256: str
    size_bytes: int


async def fetch(store: ObjectStore, request: Asked, into: Path, told: Callable[[float], None]) -> Checkpoint:
    """Fetch the file, or for Hugging Face the folder, that `checkpoint_path` names; `told` hears the fraction done.

    Raises Permanent: `invalid_uri`, `object_missing`, `checkpoint_too_large`; Transient `unavailable`.
    """
    key = checkpoint_key(request, store.bucket)
    objects = await objects_of(store, request)
    size = sum(item.size_bytes for item in objects)
    if size > request.checkpoint_max_bytes:
        raise Permanent(
            "checkpoint_too_large", f"The checkpoint has {size} bytes, {request.checkpoint_max_bytes} are allowed."
        )
    target = into / PurePosixPath(key).name
    watching = asyncio.create_task(_tell(into, size, told))
    try:
        if [item.key for item in objects] == [key]:
            reference = await store.get_file(key, target, max_bytes=size)
            return Checkpoint(path=target, sha256=reference.sha256, size_bytes=reference.size_bytes)
        return await _fetch_folder(store, key, objects, target)
    finally:
        watching.cancel()


def checkpoint_key(request: Asked, bucket: str) -> str:
    """The key, if it is in the bucket and the user's to read; raises Permanent("invalid_uri")."""
    key = parse_uri(request.checkpoint_path.rstrip("/"), bucket)
    if not keys.is_checkpoint_of(key, request.user_id):
        raise Permanent("invalid_uri", "checkpoint_path is no upload of this user.")
    return key


async def objects_of(store: ObjectStore, request: Asked) -> list[ObjectInfo]:
    """The file, or the files of the folder; raises Permanent `invalid_uri`, `object_missing`, `checkpoint_unreadable`."""
    key = checkpoint_key(request, store.bucket)
    missing = Permanent("object_missing", f"There is no object {request.checkpoint_path}.")
    if not request.checkpoint_path.endswith("/"):
        try:
            return [await store.head(key)]
        except Permanent as error:
            if error.code != "object_missing" or request.framework is not Framework.HUGGINGFACE:
                raise missing from error
    found = await store.list(f"{key}/")
    if not found:
        raise missing
    if len(found) > MAX_FILES:
        raise Permanent("checkpoint_unreadable", f"The folder has {len(found)} files, {MAX_FILES} are allowed.")
    return found


async def _fetch_folder(store: ObjectStore, key: str, objects: list[ObjectInfo], target: Path) -> Checkpoint:
    lines, total = [], 0
    for item in sorted(objects, key=lambda found: found.key):
        relative = PurePosixPath(item.key.removeprefix(f"{key}/"))
        if relative.is_absolute() or ".." in relative.parts or not relative.name:
            raise Permanent(
                "checkpoint_unreadable", f"The folder holds a file of a name that is not allowed: {relative}."
            )
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        reference = await store.get_file(item.key, path, max_bytes=item.size_bytes)
        lines.append(f"{reference.sha256}  {relative}\n")
        total += reference.size_bytes
    return Checkpoint(path=target, sha256=hashlib.sha256("".join(lines).encode()).hexdigest(), size_bytes=total)


async def _tell(folder: Path, size: int, told: Callable[[float], None]) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        told(min(1.0, await asyncio.to_thread(_size, folder) / max(size, 1)))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
