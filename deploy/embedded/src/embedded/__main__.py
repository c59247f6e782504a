"""`python -m embedded up`: the stack in the foreground, until Ctrl-C or SIGTERM."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

from contracts.errors import Permanent
from embedded.pools import with_pools
from embedded.program import StartError
from embedded.services import Service
from embedded.settings import EmbeddedSettings
from embedded.stack import STACK_FILE, Stack, StackFile
from servicekit.servers import LOOPBACK
from servicekit.settings import load

PR_SET_PDEATHSIG = 1
NOT_STARTED = "The stack did not start."
WITH_PARENT = "--with-parent"
USAGE = "usage: python -m embedded up [--with-parent]"


def main(arguments: list[str], services: Mapping[str, Service] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 where the stack could not start, 2 for a wrong call.

    `services` are exactly those to start; the five with a worker for each installed toolchain where not given.
    """
    if arguments not in (["up"], ["up", WITH_PARENT]):
        print(USAGE, file=sys.stderr)
        return 2
    if WITH_PARENT in arguments or "MAKELEVEL" in os.environ:
        _end_with_parent()
    try:
        settings = load(EmbeddedSettings)
        return asyncio.run(_up(settings, services or with_pools(settings.toolchains)))
    except (StartError, Permanent) as error:
        print(f"\n{NOT_STARTED} {error}", file=sys.stderr)
        return 1


async def _up(settings: EmbeddedSettings, services: Mapping[str, Service]) -> int:
    told = _printer()
    stack = Stack(settings, told, services)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.create_task(stack.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    else:
        print(_summary(await starting, stack), flush=True)
        await stop.wait()
    told("stopping")
    await stack.stop()
    told("stopped")
    return 0


def _printer() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda line: print(f"[{time.monotonic() - began:5.1f} s] {line}", flush=True)


def _summary(running: StackFile, stack: Stack) -> str:
    rows = {
        "gateway": running.gateway_url,
        "API pages": f"{running.gateway_url}/schema",
        "inference": running.proxy_url,
        "NATS": f"{LOOPBACK}:{stack.ports.nats} (user and password in {STACK_FILE})",
        "S3": running.s3_url,
        "traces": running.traces_url,
        "token": running.token,
        "logs": str(stack.home / "logs"),
    }
    lines = "".join(f"  {name:<10} {value}\n" for name, value in rows.items())
    return f"\nThe stack is up (Ctrl-C stops it):\n{lines}"


def _end_with_parent() -> None:
    """Stop when the process that started us dies, make or the demo: nobody else could stop us then."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
