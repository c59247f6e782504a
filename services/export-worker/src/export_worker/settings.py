"""The worker's settings; the service and each run read the same variables."""

import os
import socket
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from contracts.vocabulary import ExportFormat, Framework
from servicekit import settings
from servicekit.sandbox.bubblewrap import MIB, Limits
from servicekit.settings import BusSettings, HttpSettings, S3Settings

Positive = Annotated[int, Meta(ge=1)]


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """What is the worker's own.

    formats          what this pool of workers takes, as far as its environment makes them (all workers of a pool take the same)
    slots            runs at the same time
    warm_frameworks  toolchains kept imported in a waiting run, about 0.7 GiB each
    reuse_results    off: make an export again although the same user has made the very same before
    sandbox          off: run no step in the sandbox, even where there is one
    unsandboxed_checkpoints  accept: without a sandbox take files that run code too, with all that this worker can reach in theirs
    warm_delay_s     pause before the next warm run is begun, at a low priority, beside the job that took the last one
    preflight_timeout_s  how long a step may look at a checkpoint, imports apart
    ack_wait_s       after how long without a sign of life another worker takes a job over
    """

    work_dir: str
    worker_id: str = ""
    formats: tuple[ExportFormat, ...] = tuple(ExportFormat)
    slots: Annotated[int, Meta(ge=1, le=64)] = 1
    warm_frameworks: tuple[Framework, ...] = (Framework.ULTRALYTICS,)
    warm_runs: bool = True
    reuse_results: Literal["on", "off"] = "on"
    warm_delay_s: Annotated[float, Meta(gt=0)] = 0.2
    step_memory_mib: Positive = 6144
    step_disk_mib: Positive = 24 * 1024
    step_file_mib: Positive = 8 * 1024
    step_log_mib: Positive = 8
    step_processes: Positive = 256
    step_timeout_s: Positive = 3600
    preflight_timeout_s: Positive = 60
    sandbox: Literal["auto", "off"] = "auto"
    unsandboxed_checkpoints: Literal["refuse", "accept"] = "refuse"
    ack_wait_s: Annotated[float, Meta(gt=0)] = 30.0
    heartbeat_s: Annotated[float, Meta(gt=0)] = 10.0
    max_deliver: Positive = 5

    @property
    def id(self) -> str:
        """Names the worker in leases, announcements and progress."""
        return self.worker_id or f"{socket.gethostname()}-{os.getpid()}"

    def limits(self, timeout_s: float) -> Limits:
        """What one step may use; its time is the job's own, within this worker's bound."""
        return Limits(
            memory_bytes=self.step_memory_mib * MIB,
            processes=self.step_processes,
            file_bytes=self.step_file_mib * MIB,
            disk_bytes=self.step_disk_mib * MIB,
            log_bytes=self.step_log_mib * MIB,
            wall_s=min(timeout_s, self.step_timeout_s),
            threads=max(1, (os.cpu_count() or 1) // self.slots),
        )


RUN_SETTINGS = (BusSettings, S3Settings, WorkerSettings)


class RunSettings(Struct, frozen=True, kw_only=True):
    """What a run needs beside its job."""

    bus: BusSettings
    s3: S3Settings
    worker: WorkerSettings


class Settings(RunSettings, frozen=True, kw_only=True):
    """What the service needs."""

    http: HttpSettings


def load_run(environ: Mapping[str, str]) -> RunSettings:
    """Raises Permanent("invalid_settings") that names the variables at fault."""
    return RunSettings(
        bus=settings.load(BusSettings, environ),
        s3=settings.load(S3Settings, environ),
        worker=settings.load(WorkerSettings, environ),
    )


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises Permanent("invalid_settings") that names the variables at fault."""
    run = load_run(environ)
    return Settings(bus=run.bus, s3=run.s3, worker=run.worker, http=settings.load(HttpSettings, environ))
