"""Identical exports are made once: a result is kept below its user, by the digest of everything that decides its bytes."""

import asyncio
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
from msgspec import Struct

from contracts import keys
from contracts.errors import ModelportError, Permanent
from contracts.events.export import ExportRequestedV1
from contracts.export_options import export_route
from contracts.keys import ObjectRef
from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportRoute
from export_worker.announce import versions
from export_worker.toolchains import nvidia_gpus
from servicekit.objects import ObjectStore

MAX_BYTES = 2 << 20
CODE = ("export_worker", "processing", "contracts")
"""Our own packages that an artefact, its report and its golden vectors depend on."""


class Result(Struct, frozen=True, kw_only=True):
    """What an export left in the store, and what it said of it."""

    model: ObjectRef
    parity_report: ObjectRef
    goldens: ObjectRef
    metadata: ModelMetadata

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        return self.model, self.parity_report, self.goldens


def key(request: ExportRequestedV1, checkpoint_sha256: str) -> str:
    """Where the result of this export lies, if it has been made; another user's lies elsewhere, whatever it holds."""
    decides = {
        name: getattr(request, name)
        for name in (
            *("framework", "task_type", "model_name", "classes", "source_config"),
            *("export_format", "options", "optimization", "validation"),
        )
    }
    gpus = (
        nvidia_gpus() if export_route(request.options) is ExportRoute.TENSORRT else ()
    )  # engines are for one model of them
    made_of = [checkpoint_sha256, decides, versions(), code_digest(), gpus]
    digest = hashlib.sha256(msgspec.json.encode(made_of, order="sorted")).hexdigest()
    return keys.kept_export(request.user_id, digest)


async def find(store: ObjectStore, request: ExportRequestedV1, checkpoint_sha256: str) -> Result | None:
    """The kept result with the version that this request has; None where there is none or it cannot be read."""
    try:
        body = await store.get_bytes(key(request, checkpoint_sha256), MAX_BYTES)
        found = msgspec.json.decode(body, type=Result)
    except (Permanent, msgspec.MsgspecError):
        return None
    info = msgspec.structs.replace(found.metadata.model_info, version=request.version)
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, model_info=info))


async def copy(store: ObjectStore, result: Result, attempt: str) -> Result | None:
    """The same result with objects below the prefix `attempt`; None where one of them is gone."""
    copies = [msgspec.structs.replace(one, key=attempt + one.key.rpartition("/")[2]) for one in result.objects]
    try:
        await asyncio.gather(*(_copy(store, a, b) for a, b in zip(result.objects, copies, strict=True)))
    except Permanent:
        return None
    model, parity_report, goldens = copies
    return msgspec.structs.replace(result, model=model, parity_report=parity_report, goldens=goldens)


async def _copy(store: ObjectStore, kept: ObjectRef, target: ObjectRef) -> None:
    """From the attempt that made it, or from the package's loose files, where the same bytes lie after attempts are swept."""
    try:
        await store.copy(kept.key, target.key, kept.size_bytes)
    except Permanent:
        root, job, *_, name = kept.key.split("/")
        await store.copy(f"{root}/{job}/{name}", target.key, kept.size_bytes)


async def keep(store: ObjectStore, request: ExportRequestedV1, checkpoint_sha256: str, result: Result) -> None:
    """Remember the result; losing this costs the next identical export its time and nothing else."""
    try:
        await store.put_bytes(key(request, checkpoint_sha256), msgspec.json.encode(result), "application/json")
    except ModelportError:
        return


@cache
def code_digest() -> str:
    """Of our own sources: a corrected converter must not be answered for by what an older one made."""
    digest = hashlib.sha256()
    for package in CODE:
        _add(digest, files(package))
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", folder: Traversable) -> None:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            _add(digest, entry)
        elif entry.name.endswith((".py", ".txt")):
            digest.update(entry.name.encode())
            digest.update(entry.read_bytes())
