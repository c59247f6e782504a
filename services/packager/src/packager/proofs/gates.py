"""The packager's gate as its settings have it: which verifiers there are, and in what they run."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from packager.proofs import NAMES, Gate, verifiers
from packager.settings import Settings
from servicekit.sandbox import bubblewrap, selftest
from servicekit.sandbox.bare import Bare
from servicekit.sandbox.bubblewrap import MIB, NOTHING, Limits, Sandbox

_log = logging.getLogger(__name__)


def build(settings: Settings, environ: Mapping[str, str] = os.environ) -> Gate:
    """Look at this machine once, at the start; takes a second or two. What is missing is told in the log, with what it costs."""
    box = _box(settings, environ)
    pythons = verifiers.of_python(Path(settings.runtimes_dir)) if settings.runtimes_dir else {}
    built = verifiers.listed(Path(settings.verifiers_file)) if settings.verifiers_file else {}
    if not pythons:
        _log.error("packages are not verified: MODELPORT_RUNTIMES_DIR %r holds no environment", settings.runtimes_dir)
    told = [*(f"Python for {name}" for name in pythons), *(f"{NAMES[one]} for {name}" for name, one in built)]
    _log.info("packages are verified by: %s", ", ".join(told) or "nothing")
    return Gate(
        box,
        pythons,
        built,
        limits=Limits(
            memory_bytes=settings.verify_memory_mib * MIB,
            file_bytes=64 * MIB,
            disk_bytes=512 * MIB,
            log_bytes=4 * MIB,
            wall_s=settings.verify_timeout_s,
        ),
        takes_code=box.isolates or settings.unsandboxed_checkpoints == "accept",
        takes_unverified=settings.unverified_packages == "accept",
    )


def _box(settings: Settings, environ: Mapping[str, str]) -> Sandbox | Bare:
    """A sandbox of which every barrier holds; else a bare process, which runs models that are data."""
    state = selftest.examine(settings.sandbox, NOTHING, environ)
    for name, how in state.barriers.items():
        if how:
            _log.error("sandbox barrier %s does not hold: %s", name, how)
    found = bubblewrap.choose(settings.sandbox, NOTHING, environ)[0] if state.available else None
    _log.info("sandbox: %s", state.description if found else f"none: {state.description}")
    return found or Bare()
