"""Where a run works before and after it knows its job, and what its end says; imports nothing that is slow."""

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from uuid import uuid4

from contracts.errors import Transient
from export_worker.sandbox.seen import by_steps
from export_worker.sandbox.steps import Step
from export_worker.settings import RunSettings
from servicekit.sandbox import bubblewrap
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bounded_log import BoundedLog
from servicekit.sandbox.job_dir import JobDir

RUN_DIR = "MODELPORT_RUN_DIR"
TEXT = "text/plain; charset=utf-8"


class Exit(IntEnum):
    """What the one who started the run may conclude."""

    STATED = 0
    BAD_ENVIRONMENT = 64
    BROKEN = 70
    NO_SPACE = 73
    TRY_AGAIN = 75
    ENDED = 143


class Room:
    """Where a run works before and after it knows its job: its folders, its log and its sandboxed step."""

    def __init__(self, settings: RunSettings, environ: Mapping[str, str], command: tuple[str, ...]) -> None:
        """Only a worker that has switched the sandbox off goes without; Transient where it does not work for this run alone."""
        worker, seen = settings.worker, by_steps()
        found, state = bubblewrap.choose(worker.sandbox, seen, environ)
        if found is None and worker.sandbox != "off":
            raise Transient("sandbox_unavailable", f"The sandbox does not work now: {state.description}.")
        box = found or Bare(devices=seen.devices, variables=seen.variables)
        self.takes_code = box.isolates or worker.unsandboxed_checkpoints == "accept"
        limits = settings.worker.limits(settings.worker.step_timeout_s)
        root = Path(environ.get(RUN_DIR) or Path(settings.worker.work_dir) / f"run-{uuid4().hex}")
        self.job = JobDir.create(root, box.uid())
        self.log = BoundedLog(self.job.log, limits.log_bytes)
        self.step = Step(box, self.job, limits, self.log, command=command)

    async def close(self) -> None:
        await self.step.kill()
        self.log.close()
