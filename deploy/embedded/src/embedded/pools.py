"""Pools of export workers: one for each environment of the worker's table that is installed beside the running one."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from embedded.program import StartError
from embedded.services import SERVICES, Service
from export_worker.toolchains import CORE, TOOLCHAINS, Toolchain

WORKER = "export-worker"


def with_pools(
    wanted: Sequence[str], services: Mapping[str, Service] = SERVICES, root: Path | None = None
) -> dict[str, Service]:
    """The services with a worker for every toolchain of `wanted`, by name; without any for all whose environment exists.

    The core's worker runs in the environment that runs this. StartError names a toolchain that there is not.
    """
    root = root or Path(sys.prefix).parent
    known = {toolchain.name: toolchain for toolchain in TOOLCHAINS}
    for name in wanted:
        _require(name, known, root)
    names = wanted or [name for name, one in known.items() if name == CORE or _python(one, root).exists()]
    made = {name: service for name, service in services.items() if name != WORKER or CORE in names}
    return made | {known[name].pool: _pool(known[name], services[WORKER], root) for name in names if name != CORE}


def _require(name: str, known: Mapping[str, Toolchain], root: Path) -> None:
    if name not in known:
        raise StartError(
            WORKER, f"there is no toolchain '{name}'", f"MODELPORT_TOOLCHAINS knows {', '.join(sorted(known))}"
        )
    if name != CORE and not _python(known[name], root).exists():
        raise StartError(
            known[name].pool, f"its environment {root / known[name].environment} is missing", "run 'make setup'"
        )


def _pool(toolchain: Toolchain, worker: Service, root: Path) -> Service:
    """The worker's service in another environment: it takes what that one is for, under a name of its own."""
    settings = {"MODELPORT_FORMATS": ",".join(toolchain.formats()), "MODELPORT_WORKER_ID": toolchain.pool}
    listens_on = toolchain.pool.replace("-", "_")
    return replace(worker, python=str(_python(toolchain, root)), listens_on=listens_on, settings=settings)


def _python(toolchain: Toolchain, root: Path) -> Path:
    return root / toolchain.environment / "bin" / "python"
