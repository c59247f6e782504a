"""Deliberately broken variants of the code that the simulation plays: each must break a promise within some seeds."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import deployer.desired
import gateway.deployment
import gateway.export_job
import gateway.reactions
import gateway.reconciler
import gateway.requests
import inference_proxy.routes
import packager.reactions
import servicekit.delivery
import servicekit.jobs
import servicekit.leases
import servicekit.outbox
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
    "leases without compare-and-set": rewritten(
        servicekit.leases, "_swap", "bucket.update(key, value, last=revision)", "bucket.update(key, value)"
    ),
    "packages without a claim": rewritten(
        packager.reactions.Reactions, "_claimed", 'if error.code != "conflict":', "if False:"
    ),
    "silent jobs are not given up": rewritten(gateway.reconciler.Reconciler, "once", "await self.expire_jobs()", ""),
    "wishes are not stated again": rewritten(
        gateway.reconciler.Reconciler, "once", "await self.restate_deployments()", ""
    ),
    "the relay forgets what was not acknowledged": rewritten(
        servicekit.outbox.Relay,
        "flush",
        "zip(rows, results, strict=True) if is_done",
        "zip(rows, results, strict=True)",
    ),
    "a message is acknowledged before it is handled": rewritten(
        servicekit.delivery,
        "handle_once",
        "            await run()\n",
        "            await message.ack()\n            await run()\n",
    ),
    "a failure of an older generation counts": rewritten(
        gateway.deployment, "apply", "or fact.generation != deployment.generation", ""
    ),
    "a stale wish is obeyed": rewritten(
        deployer.desired.Desired, "is_stale", "known.generation > request.generation", "False"
    ),
    "an older revision of a route counts": rewritten(
        inference_proxy.routes.RouteTable, "update", "version > route.access_version and ", ""
    ),
    "a deleted route comes back": rewritten(inference_proxy.routes.RouteTable, "put", "route.deleted or ", ""),
    "a success makes no default": rewritten(
        gateway.reactions, "fold_job", "if not await jobs.has_default(conn, row.training_job_id):", "if False:"
    ),
    "versions are counted outside the transaction": rewritten(
        gateway.requests, "request_export", "version=await trainings.next_version(conn, training.id)", "version=1"
    ),
}
