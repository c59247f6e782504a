"""What nobody owns any more, and may be removed: decided by age and by what the database knows; pure.

Everything young stays, whoever it belongs to: a row is always older than the objects of its job, and an attempt ends long
before the grace does. So a sweep never meets a run at work.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from contracts.vocabulary import ExportStatus

EXPORTS, UPLOADS, TRITON = "exports/", "uploads/", "triton-models/"
PACKAGES = ("edge-packages/", "container-packages/")
KEPT = ("preflights/", "kept-exports/")
"""Answers to questions that were asked before; they are made again where they are still wanted."""
ATTEMPTS = "attempts"


class Found(Struct, frozen=True, kw_only=True):
    """One object of the store."""

    key: str
    modified: datetime


class EndedJob(Struct, frozen=True, kw_only=True):
    """A job as far as its objects are concerned; `keeps` are the keys that its row names."""

    status: ExportStatus
    ended_at: datetime | None
    keeps: frozenset[str]


class Known(Struct, frozen=True, kw_only=True):
    """What the database knows of the owners of some objects."""

    jobs: Mapping[UUID, EndedJob] = {}
    deployments: frozenset[UUID] = frozenset()
    """Those that are not deleted."""
    checkpoints: frozenset[str] = frozenset()
    """Keys, of objects or of folders, that trainings were registered from."""


class Ages(Struct, frozen=True, kw_only=True):
    """How old something must be."""

    now: datetime
    grace: timedelta
    upload_keep: timedelta


def owner_of(key: str) -> UUID | None:
    """The job or deployment whose folder a key lies in, or whose package it is; None for what is no such key."""
    root, _, rest = key.partition("/")
    name, inside, _ = rest.partition("/")
    is_package = f"{root}/" in PACKAGES and not inside and name.endswith(".zip")
    is_in_folder = f"{root}/" in (EXPORTS, TRITON) and bool(inside)
    try:
        return UUID(name.removesuffix(".zip")) if is_package or is_in_folder else None
    except ValueError:
        return None


def is_unowned(found: Found, known: Known, ages: Ages) -> bool:
    """Whether an object may be removed; what lies outside our folders never may."""
    age = ages.now - found.modified
    if found.key.startswith(UPLOADS):
        return age > ages.upload_keep + ages.grace and not _is_registered(found.key, known.checkpoints)
    if found.key.startswith(KEPT):
        return age > ages.upload_keep
    owner = owner_of(found.key)
    if owner is None or age <= ages.grace:
        return False
    if found.key.startswith((TRITON, *PACKAGES)):
        return owner not in known.deployments
    return _is_left_by(known.jobs.get(owner), found.key, ages)


def _is_left_by(job: EndedJob | None, key: str, ages: Ages) -> bool:
    if job is None:
        return True
    if job.ended_at is None or ages.now - job.ended_at <= ages.grace or key in job.keeps:
        return False
    return job.status is not ExportStatus.COMPLETED or key.split("/")[2] == ATTEMPTS


def _is_registered(key: str, checkpoints: frozenset[str]) -> bool:
    parts = key.split("/")
    return any("/".join(parts[:length]) in checkpoints for length in range(1, len(parts) + 1))


def is_expired_upload(key: str, modified: datetime, now: datetime, keep: timedelta) -> bool:
    """Whether an upload is too old to be registered: the sweep may be about to remove it."""
    return key.startswith(UPLOADS) and now - modified > keep
