"""export-package.zip: what goes in, from the worker's artefacts to the stored tree `exports/{job_id}/`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

from msgspec import Struct, structs

from contracts import keys, labels
from contracts.errors import Permanent
from contracts.events import ModelExportedV1
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from packager import archive, artefact_names, metadata, models, provenance, readme, wrappers
from packager.proofs import Gate
from packager.provenance.signing import Signer
from servicekit.objects import ObjectStore

CONCURRENT_UPLOADS = 8
_TYPES = {".json": "application/json", ".md": "text/markdown; charset=utf-8", ".zip": "application/zip"}
_TEXT = {".txt", ".py", ".typed", ".h", ".cpp", ".kt", ".kts", ".swift"}


class Sources(Struct, frozen=True, kw_only=True):
    """The worker's artefacts as checked local files, by their name in its store; the log stays outside the package."""

    members: dict[str, Path]
    log: Path


class _Staged(Struct, frozen=True, kw_only=True):
    """The files of a package but for those that tell of it, and the metadata so far."""

    metadata: ModelMetadata
    members: dict[str, Path]
    beside: dict[str, Path]


class Package(Struct, frozen=True, kw_only=True):
    """A package on disk: its files by their path, the zip of them, and the files that only stand beside it."""

    metadata: ModelMetadata
    members: dict[str, Path]
    zip: Path
    beside: dict[str, Path]


class Stored(Struct, frozen=True, kw_only=True):
    """What the terminal fact refers to."""

    metadata: ModelMetadata
    package: ObjectRef
    model: ObjectRef
    parity_report: ObjectRef


async def fetch(store: ObjectStore, event: ModelExportedV1, folder: Path) -> Sources:
    """Stream the attempt's artefacts into `folder`; Permanent `packaging_failed` unless they are what was announced."""
    incoming = folder / "incoming"
    incoming.mkdir()
    wanted = {
        keys.MODEL_FILES[event.export_format]: event.model,
        keys.PARITY_REPORT: event.parity_report,
        keys.GOLDENS: event.goldens,
        keys.LOG: event.log,
    }
    paths = {name: incoming / name for name in wanted}
    try:
        for name, ref in wanted.items():
            await store.get_file(ref.key, paths[name], max_bytes=ref.size_bytes, sha256=ref.sha256)
    except Permanent as error:
        raise Permanent("packaging_failed", error.message) from error
    return Sources(log=paths.pop(keys.LOG), members=paths)


async def assemble(
    model: ModelMetadata,
    sources: Sources,
    folder: Path,
    *,
    max_bytes: int = models.MAX_BYTES,
    signer: Signer | None = None,
    gate: Gate | None = None,
) -> Package:
    """Write wrappers, README, metadata and provenance beside the artefacts and zip all of it; unsigned without a signer.

    A model that is stored as a zip lies in the package as its files, of at most `max_bytes`, and stays a zip beside it. What `gate`
    proves is proven on the very files that are zipped then; README, metadata and provenance come after it, because they tell of it.
    """
    named = provenance.named(model, signer)
    staged = await asyncio.to_thread(_stage, named, sources, folder, max_bytes)
    proven = staged.metadata
    if gate is not None:
        statuses = await gate.prove(proven, staged.members, folder)
        proven = structs.replace(proven, wrapper_proofs=statuses)
    return await asyncio.to_thread(_finish, proven, staged, folder, signer)


def _stage(model: ModelMetadata, sources: Sources, folder: Path, max_bytes: int) -> _Staged:
    """Every file that is run or read when the model is used, and the metadata of these."""
    members, beside = dict(sources.members), {keys.LOG: sources.log}
    stored = keys.MODEL_FILES[model.model_info.export_format]
    if model.model_info.export_format in models.ZIPPED:
        beside[stored] = members.pop(stored)
        members |= models.unpack(model.model_info.export_format, beside[stored], folder / "model", max_bytes)
    artefact_names.check(model, members)
    texts = {
        "NOTICE.txt": readme.notice().encode(),
        f"{wrappers.PYTHON}/requirements.txt": wrappers.requirements(model).encode(),
        keys.LABELS: labels.as_text({each.id: each.name for each in model.classes}).encode(),
        **wrappers.sources(model.model_info.export_format),
    }
    members |= archive.written(folder / "package", texts)
    finished = metadata.complete(model, wrappers.entry_points(members), members)
    return _Staged(metadata=finished, members=members, beside=beside)


def _finish(model: ModelMetadata, staged: _Staged, folder: Path, signer: Signer | None) -> Package:
    """What tells of the package, and the zip."""
    members = staged.members | archive.written(folder / "package", {"README.md": readme.render(model).encode()})
    finished = metadata.complete(model, model.runtime_wrappers, members, known=staged.metadata.files)
    members |= archive.written(folder / "package", {keys.METADATA: metadata.encode(finished)})
    members = provenance.seal(members, finished, folder / "package", signer)
    target = folder / keys.PACKAGE
    archive.write(target, members)
    return Package(metadata=finished, members=members, zip=target, beside=staged.beside)


async def upload(store: ObjectStore, job_id: UUID, package: Package, prove: Callable[[], Awaitable[None]]) -> Stored:
    """Store the zip, and before it, loose, what is opened by itself: everything but what the wrappers are made of.

    `prove` raises where the job belongs to another packager; it is asked before each file, because a process may have
    been stopped for long between any two.
    """
    gate = asyncio.Semaphore(CONCURRENT_UPLOADS)

    async def put(name: str, path: Path) -> ObjectRef:
        async with gate:
            await prove()
            return await store.put_file(keys.export_file(job_id, name), path, content_type(name))

    begins = set(package.metadata.runtime_wrappers.values())
    opened = {
        name: path for name, path in package.members.items() if name in begins or not name.startswith("runtimes/")
    }
    loose = opened | package.beside
    refs = dict(zip(loose, await asyncio.gather(*(put(name, path) for name, path in loose.items())), strict=True))
    return Stored(
        metadata=package.metadata,
        package=await put(keys.PACKAGE, package.zip),
        model=refs[keys.MODEL_FILES[package.metadata.model_info.export_format]],
        parity_report=refs[keys.PARITY_REPORT],
    )


def content_type(name: str) -> str:
    """What a browser is told about a file."""
    suffix = Path(name).suffix
    return "text/plain; charset=utf-8" if suffix in _TEXT else _TYPES.get(suffix, "application/octet-stream")
