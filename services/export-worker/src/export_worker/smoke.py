"""`python -m export_worker.smoke onnx timm`: whether this environment can load what these formats, these frameworks and a worker need.

The last step of an environment's set-up, and what turns its packages into bytecode: sandboxed steps could not write that.
Exit status 1 where something is broken, with its name; each name is printed before it is loaded, so that a crash has one too.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from contracts.vocabulary import ExportFormat, Framework
from export_worker.child import QUIET
from export_worker.toolchains import FLAVORS, NEEDS, missing_modules

NATIVE = {"ai_edge_litert": ("ai_edge_litert.interpreter",), "ai_edge_quantizer": ("ai_edge_quantizer.quantizer",)}
"""Modules below, that load what the package itself leaves for later."""
SERVICE = ("export_worker.app", "export_worker.attempt", "aioboto3", "cv2", "PIL.Image")
"""The worker itself and what it loads late."""


def wanted(purposes: Sequence[str]) -> list[str]:
    """Modules to load for formats and frameworks, torch first: others crash where they come before it. ValueError for another word."""
    keys = [Framework(name) if name in tuple(Framework) else ExportFormat(name) for name in purposes]
    needed = [name for key in keys for name in NEEDS[key]]
    if ExportFormat.TENSORRT in keys:
        flavors = [names for names in FLAVORS.values() if not missing_modules(names)]
        needed += [name for names in flavors or FLAVORS.values() for name in names]
    return list(dict.fromkeys([*(part for name in needed for part in (name, *NATIVE.get(name, ()))), *SERVICE]))


def broken(names: Iterable[str], load: Callable[[str], object] = import_module) -> dict[str, str]:
    """Module -> why it cannot be loaded."""
    found: dict[str, str] = {}
    for name in names:
        print(f"loading {name}", flush=True)
        try:
            load(name)
        except (Exception, SystemExit) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def main(arguments: list[str]) -> int:
    """0: all of it loads; 1: what is printed does not."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    faults = broken(wanted(arguments))
    for name, reason in faults.items():
        print(f"broken: {name}: {reason}")
    return 1 if faults else 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # nothing was made: the toolchains need not be torn down
    os._exit(code)
