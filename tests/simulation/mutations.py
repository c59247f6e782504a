"""Deliberately broken variants of the code that the simulation plays: each must break a promise within some seeds."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import gateway.export_job
import gateway.reactions
import gateway.reconciler
import gateway.requests
import servicekit.delivery
from contracts.events import ExportFailedV1, ExportProgressedV1
from contracts.vocabulary import ExportStatus

Mutation = Callable[[], Any]


def rewritten(owner: Any, name: str, old: str, new: str) -> Mutation:
    """The function or method of `owner` with one snippet of its source replaced."""
    original = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(original))
    assert old in source, f"{name} does not contain {old!r} any more"
    module = sys.modules[original.__module__]

    @contextmanager
    def broken() -> Iterator[None]:
        made: dict[str, Any] = {}
        exec(compile(source.replace(old, new), f"<broken {name}>", "exec"), vars(module), made)
        with patch.object(owner, name, made[name]), _everywhere(original, made[name]):
            yield

    return broken


@contextmanager
def _everywhere(original: Any, broken: Any) -> Iterator[None]:
    """Also where the function was imported by name."""
    places = [
        (module, name)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").split(".")[0]
        in ("gateway", "servicekit", "export_worker", "packager", "tests")
        for name, value in list(vars(module).items())
        if value is original
    ]
    for module, name in places:
        setattr(module, name, broken)
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, original)


def _ended_jobs_fail() -> Any:
    added = {(ExportStatus.COMPLETED, ExportFailedV1): ExportStatus.FAILED}
    added |= {(ExportStatus.CANCELLED, ExportProgressedV1): ExportStatus.RUNNING}
    return patch.object(gateway.export_job, "TRANSITIONS", {**gateway.export_job.TRANSITIONS, **added})


MUTATIONS: Mapping[str, Mutation] = {
    "an older attempt counts": rewritten(
        gateway.export_job, "apply", "(attempt < job.attempt and not _ends_packaging(fact))", "False"
    ),
    "what has ended goes on": _ended_jobs_fail,
    "facts without an inbox": rewritten(
        gateway.reactions, "_react", "if await first_time(conn, name, meta.id):", "if True:"
    ),
    "trainings without an inbox": rewritten(
        gateway.reactions, "on_training_completed", "if await first_time(", "if True or await first_time("
    ),
    "wishes are not stated again": rewritten(
        gateway.reconciler.Reconciler, "once", "await self.restate_deployments()", ""
    ),
    "a message is acknowledged before it is handled": rewritten(
        servicekit.delivery,
        "handle_once",
        "            await run()\n",
        "            await message.ack()\n            await run()\n",
    ),
    "a success makes no default": rewritten(
        gateway.reactions, "fold_job", "if not await jobs.has_default(conn, row.training_job_id):", "if False:"
    ),
    "versions are counted outside the transaction": rewritten(
        gateway.requests, "request_export", "version=await trainings.next_version(conn, training.id)", "version=1"
    ),
}
