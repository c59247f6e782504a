"""What was foreseen of a checkpoint, kept in the store for the same user's next preflight: results, never code.

A result is found again by everything that it depends on: the checkpoint's bytes (as the store tells them apart), the questions, the
toolchain and this release's own sources. The user's id is part of the key, so that nobody finds what was kept for somebody else.
"""

import hashlib
import logging

import msgspec

from contracts.errors import ModelportError, Permanent
from contracts.events import PreflightAnsweredV1, PreflightRequestedV1
from export_worker.announce import versions
from export_worker.fetch import objects_of
from export_worker.reuse import code_digest
from export_worker.settings import WorkerSettings
from servicekit.objects import ObjectStore

MAX_BYTES = 1 << 20
_log = logging.getLogger(__name__)


def toolchain_digest(worker: WorkerSettings) -> str:
    """Of the versions of all packages that convert, of our own sources, and of the limits that decide what fits."""
    parts = [versions(), code_digest(), worker.step_memory_mib]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


async def digest(store: ObjectStore, event: PreflightRequestedV1, toolchain: str) -> str:
    """Names the question; raises Permanent where the checkpoint is missing or the store does not tell bytes apart."""
    objects = await objects_of(store, event)
    if not all(item.etag for item in objects):
        raise Permanent("object_missing", "the store gives no entity tags")
    names = [(item.key.rsplit("/", 1)[-1], item.etag, item.size_bytes) for item in objects]
    nobody = msgspec.to_builtins(event)
    for name in ("preflight_id", "training_job_id", "checkpoint_path", "checkpoint_max_bytes"):
        del nobody[name]
    body = msgspec.json.encode([names, nobody, toolchain], order="sorted")
    return hashlib.sha256(body).hexdigest()


async def recall(store: ObjectStore, key: str) -> PreflightAnsweredV1 | None:
    """What was kept, or None; a store that does not answer has kept nothing."""
    try:
        return msgspec.json.decode(await store.get_bytes(key, MAX_BYTES), type=PreflightAnsweredV1)
    except (ModelportError, msgspec.MsgspecError) as error:
        if getattr(error, "code", "") != "object_missing":
            _log.warning("what is kept as %s is not read: %s", key, error)
        return None


async def keep(store: ObjectStore, key: str, answer: PreflightAnsweredV1) -> None:
    """Store an answer that holds for the next time too; a store that refuses is no error."""
    try:
        await store.put_bytes(key, msgspec.json.encode(answer), "application/json")
    except ModelportError as error:
        _log.warning("the answer is not kept: %s", error)
