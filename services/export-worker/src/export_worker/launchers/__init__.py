"""How runs are started: the same command and the same variables on every tier, behind one Protocol."""

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from contracts.execution import Run


class RunState(StrEnum):
    """SUCCEEDED: a terminal fact is stated. FAILED: ended without one. LOST: nobody knows of the run any more."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


class RunHandle(Struct, frozen=True):
    """Names a launched run; the same attempt always has the same handle."""

    id: str


class Remains(Struct, frozen=True, kw_only=True):
    """What is left of an ended run: its exit status where known, and its log where it is in reach."""

    exit_code: int | None = None
    log: Path | None = None


class Launcher(Protocol):
    """Starts isolated runs of `python -m export_worker.run`; a run dies with its launcher or outlives it wholly, never half."""

    async def launch(self, run: Run) -> RunHandle:
        """Start the run, or find the one that this attempt has already; raises Transient where none can be started."""

    async def poll(self, handle: RunHandle) -> RunState:
        """How the run stands."""

    async def cancel(self, handle: RunHandle, grace_s: float = 1.0) -> None:
        """Ask the run to end and end it after `grace_s`; no process of it is left afterwards. Ended runs are left as they are."""

    async def remains(self, handle: RunHandle) -> Remains:
        """What an ended run has left behind."""

    async def forget(self, handle: RunHandle) -> None:
        """Remove what an ended run has left behind."""
