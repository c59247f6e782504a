"""`python -m export_worker.child [--cold FRAMEWORK | --warm FRAMEWORK]`: one run inside the sandbox, in the job's folder, without credentials.

Reads request.json and input/, writes output/, and says on standard output, one JSON object a line, how far it is and how it ended;
whatever the libraries print goes to standard error. With a framework it first imports the toolchain, says `ready` and waits for a line on
standard input: cold, the job is being fetched meanwhile; warm, there is none yet, so that a small export is rehearsed as well.
"""

import argparse
import os
import select
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from contracts.errors import ErrorInfo, ModelportError, Permanent
from contracts.execution import ExportRun, PreflightRun, Run
from contracts.vocabulary import ExportStage, Framework
from export_worker import planner, registry

QUIET = {
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TQDM_DISABLE": "1",
}
"""No look-ups in a network, no package installed by a library, no GPU; threads that wait sleep, as on a shared machine a spinning
barrier makes every small operator ten times slower (measured: 18 s against 2 s for 32 pictures through a tiny ViT)."""

QUIET_S = 5.0
"""No job for so long: there is time for imports that only some jobs need."""


class Reporter:
    """The lines of the protocol, and the durations of the stages."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.stage = ExportStage.LOAD
        self.durations: dict[ExportStage, float] = {}

    def say(self, kind: str, **fields: object) -> None:
        self.stream.write(msgspec.json.encode({"type": kind, **fields}) + b"\n")
        self.stream.flush()

    def progress(self, fraction: float, message: str) -> None:
        """`fraction` (0..1) is of the running stage."""
        self.say("progress", stage=self.stage, fraction=round(fraction, 4), message=message)

    def failed(self, error: BaseException) -> None:
        self.say("error", **msgspec.to_builtins(describe(error, self.stage)))


def main(arguments: list[str] | None = None) -> int:
    """0 after `done`, 1 after `error`."""
    parser = argparse.ArgumentParser(prog="export_worker.child", description=__doc__)
    parser.add_argument("--cold", type=Framework, choices=list(Framework))
    parser.add_argument("--warm", type=Framework, choices=list(Framework))
    options = parser.parse_args(arguments)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path.cwd() / "tmp"))
    reporter = Reporter(own_stdout())
    try:
        if not _prepare(options.cold, options.warm, reporter):
            return 0
        run(Path.cwd(), reporter)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        reporter.failed(error)
        return 1
    return 0


def _prepare(cold: Framework | None, warm: Framework | None, reporter: Reporter) -> bool:
    """Import what the job will need, and wait for it; False where none comes."""
    framework = cold or warm
    if framework is None:
        return True
    registry.resolve(registry.LOADERS[framework])
    if warm:
        registry.resolve(registry.WARMER)()
    reporter.say("ready")
    for entry in _seldom(warm) if warm else ():
        if select.select([sys.stdin], [], [], QUIET_S)[0]:
            break
        registry.resolve(entry)
    return bool(sys.stdin.readline())


def _seldom(framework: Framework) -> list[str]:
    """Entries that only some jobs need."""
    own = [registry.SELDOM[framework]] if framework in registry.SELDOM else []
    return [*own, *registry.resolve(registry.LATER)()]


def run(folder: Path, reporter: Reporter) -> None:
    """What request.json asks for: an export, or a look at what exports would become."""
    errand: ExportRun | PreflightRun = msgspec.json.decode((folder / "request.json").read_bytes(), type=Run)
    (folder / "output").mkdir(exist_ok=True)
    if isinstance(errand, PreflightRun):
        registry.resolve(registry.FORECASTER)(errand, folder, reporter.progress)
    else:
        _export(errand, folder, reporter)
    reporter.say("done", durations_s={stage: round(value, 4) for stage, value in reporter.durations.items()})


def _export(errand: ExportRun, folder: Path, reporter: Reporter) -> None:
    """The planner's steps, in order, over the state that they hand on; what would not fit into memory ends once it is loaded."""
    request = errand.request
    steps = planner.plan(request)
    work = registry.resolve(registry.BEGIN)(request, folder, reporter.progress)
    for step in steps:
        reporter.stage = step.stage
        reporter.progress(0.0, step.label)
        start = time.perf_counter()
        work = registry.resolve(step.entry)(work)
        reporter.durations[step.stage] = reporter.durations.get(step.stage, 0.0) + time.perf_counter() - start
        if step.stage is ExportStage.LOAD:
            registry.resolve(registry.WEIGHER)(work, errand.memory_bytes)


def own_stdout() -> BinaryIO:
    """The real standard output for the protocol; from here on, what anything prints goes to standard error."""
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return protocol


def describe(error: BaseException, stage: ExportStage) -> ErrorInfo:
    """The record of whatever ended the run: known errors as they are, the rest by its stage with the original as its cause."""
    cause = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, MemoryError):
        error = Permanent("step_out_of_memory", f"the {stage} step ran out of memory.")
    if isinstance(error, ModelportError):
        root = error.__cause__
        told = "".join(traceback.format_exception_only(root)).strip() if root else ""
        return ErrorInfo.of(error, stage=stage, operator=getattr(error, "operator", ""), cause=told)
    code = "checkpoint_unreadable" if stage is ExportStage.LOAD else "conversion_failed"
    return ErrorInfo.of(Permanent(code, f"the {stage} step failed: {cause[:300]}"), stage=stage, cause=cause)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # everything is on disk: tearing the toolchains down would cost the job another second
    os._exit(code)
