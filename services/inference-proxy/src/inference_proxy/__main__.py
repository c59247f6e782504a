"""`python -m inference_proxy`: serves until SIGTERM."""

import ctypes
import gc
import math
from contextlib import suppress

from inference_proxy.app import SERVICE, build_app
from inference_proxy.settings import Settings
from servicekit import process, settings, telemetry
from servicekit.http import serve

LEAVE_S = 2.0
"""How long clients that keep idle connections have to notice; busy ones are told with their next answer."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MALLOC_OPTIONS = {M_MMAP_THRESHOLD: 16 << 20, M_TRIM_THRESHOLD: 32 << 20, M_ARENA_MAX: 2}


def keep_freed_memory() -> None:
    """Let glibc keep what a request freed for the next one.

    By default every picture's pixels go back to the kernel and are faulted in again, page by page: measured, half of
    the proxy's own processor time. What is larger than a common photograph still goes back at once.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option, value in MALLOC_OPTIONS.items():
            libc.mallopt(option, value)


async def main() -> None:
    """Serve until asked to stop."""
    keep_freed_memory()
    given = settings.load(Settings)
    tracing = telemetry.setup(SERVICE)
    try:
        async with build_app(given, tracing) as api:
            gc.collect()
            gc.freeze()  # what a process has at its start is never garbage: not looked at again
            grace_s = math.ceil(given.inference_timeout_s) + 1
            await serve(api, given.host, given.port, grace_s=grace_s, stopping=api.leave, leave_s=LEAVE_S)
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    process.run(SERVICE, main())
