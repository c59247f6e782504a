"""`python -m bench.zoo_crew core|litert`: the worker's child, forked for one job at a time from a process that has the toolchain imported.

A line of standard input is an errand: a job's folder as the child finds it, or a model to make a checkpoint of. A line of standard output
is its end. Each fork is bounded in CPU seconds, and whatever it prints goes to files in the folder.
"""

import importlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from export_worker import child, registry

CPU_LIMIT_S = 150
WALL_LIMIT_S = 1200.0
LATE = {
    "core": ("coremltools", "openvino", "tensorrt_rtx", "onnxruntime", "transformers", "ultralytics", "timm"),
    "litert": ("litert_torch", "ai_edge_litert.interpreter", "transformers", "ultralytics", "timm"),
}
"""What is imported before anything is forked, `torch` and `triton` ahead of them."""


class Errand(Struct, frozen=True, kw_only=True):
    """`make` names a model of the zoo whose checkpoint goes into `folder`; else `folder` is a job."""

    folder: str
    make: str = ""


class Ended(Struct, frozen=True, kw_only=True):
    """How a fork ended: its exit code, negative for a signal, and the CPU seconds that it took."""

    code: int
    seconds: float


def main(arguments: list[str]) -> int:
    """Until the end of standard input."""
    for name, value in child.QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("torch", "triton", *LATE[arguments[0]]):
        importlib.import_module(name)
    for loader in registry.LOADERS.values():
        registry.resolve(loader)
    registry.resolve(registry.WARMER)()
    registry.resolve(registry.FORECASTER)
    protocol = child.own_stdout()
    for line in sys.stdin:
        errand = msgspec.json.decode(line, type=Errand)
        ended = forked(Path(errand.folder), _making(errand.make) if errand.make else _job)
        protocol.write(msgspec.json.encode(ended) + b"\n")
        protocol.flush()
    return 0


def forked(folder: Path, deed: Callable[[], int]) -> Ended:
    """The deed in a process of its own, in the folder; `lines` is its standard output, `log` its standard error."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _in_folder(folder, deed)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + WALL_LIMIT_S
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return Ended(code=os.waitstatus_to_exitcode(status), seconds=usage.ru_utime + usage.ru_stime)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _in_folder(folder: Path, deed: Callable[[], int]) -> int:
    os.chdir(folder)
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S + 5))
    for number, name in ((1, "lines"), (2, "log")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    return deed()


def _job() -> int:
    return child.main([])


def _making(label: str) -> Callable[[], int]:
    def make() -> int:
        from bench.zoo_models import ZOO

        print(ZOO[label].build(Path.cwd()).name, flush=True)
        return 0

    return make


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
