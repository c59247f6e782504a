"""(d) Resident memory of each idle service."""

import psutil

from bench.figures import table
from bench.platform import Platform, Say

SERVICES = ("gateway", "packager", "deployer", "inference-proxy", "export-worker")
LIMIT_MB = 150.0
MB = 1e6


def measure(platform: Platform, say: Say) -> str:
    """Own process and children apart; resident counts shared pages fully, unique does not."""
    platform.settle()
    rows = []
    for name, processes in platform.processes().items():
        own = processes[0].memory_full_info()
        children = sum(_unique(child) for child in processes[1:])
        met = "" if name not in SERVICES[:-1] else ("met" if own.rss / MB <= LIMIT_MB else "missed")
        rows.append((name, f"{own.rss / MB:.0f}", f"{own.uss / MB:.0f}", f"{children / MB:.0f}", met))
        say(f"{name}: {own.rss / MB:.0f} MB resident")
    rows.sort(key=lambda row: (row[0] not in SERVICES, row[0]))
    return (
        "## (d) Resident memory, idle\n\n"
        f"Target: no service but the worker above {LIMIT_MB:.0f} MB. The worker's children are its warm runs, which have imported a toolchain and "
        "wait for a job.\n\n" + table(("process", "resident MB", "unique MB", "children, unique MB", "target"), rows)
    )


def _unique(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0.0
