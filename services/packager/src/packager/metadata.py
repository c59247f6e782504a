"""Completes metadata.json with what the packager knows, and refuses what its own runtime could not execute."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from contracts import keys
from contracts.errors import Permanent
from contracts.model_package import FileDigest, ModelMetadata
from processing.errors import ProcessingError
from processing.pipeline import Pipeline


def complete(
    metadata: ModelMetadata,
    wrappers: Mapping[str, str],
    members: Mapping[str, Path],
    known: Sequence[FileDigest] = (),
) -> ModelMetadata:
    """The metadata with `runtime_wrappers` and the digest of every other file; valid against its schema.

    `known` are digests of members that were taken before and have not changed since.
    Raises Permanent `packaging_failed` where the shipped pre- and post-processing would not understand it.
    """
    taken = {file.path: file for file in known}
    files = tuple(taken.get(name) or digest(name, members[name]) for name in sorted(members))
    finished = msgspec.structs.replace(metadata, runtime_wrappers=dict(wrappers), files=files)
    if finished.model_file != keys.PACKAGED_MODELS[finished.model_info.export_format]:
        raise Permanent("packaging_failed", f"metadata.json names the model {finished.model_file!r}")
    try:
        builtins = msgspec.to_builtins(finished)
        msgspec.convert(builtins, ModelMetadata)
        Pipeline.from_metadata(builtins)
    except (msgspec.ValidationError, ProcessingError) as error:
        raise Permanent("packaging_failed", f"the metadata of this model cannot be executed: {error}") from error
    return finished


def digest(name: str, path: Path) -> FileDigest:
    """SHA-256 and size of one file of the package."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(path=name, sha256=sha256, size_bytes=path.stat().st_size)


def encode(metadata: ModelMetadata) -> bytes:
    """metadata.json for people and programs: indented, in the order of the schema."""
    return msgspec.json.format(msgspec.json.encode(metadata), indent=2) + b"\n"
