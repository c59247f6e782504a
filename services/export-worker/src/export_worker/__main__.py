"""`python -m export_worker`: the export worker until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys

from contracts.errors import ModelportError
from export_worker import settings
from export_worker.app import build_app
from servicekit import telemetry


async def serve() -> None:
    """Run until SIGTERM or SIGINT."""
    traces = telemetry.setup("export-worker", os.environ)
    app = build_app(settings.load(), telemetry=traces)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await app.start()
        await stop.wait()
    finally:
        await app.stop()
        traces.shutdown()


def main() -> int:
    try:
        asyncio.run(serve())
    except ModelportError as error:
        logging.getLogger(__name__).error("%s %s", error, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
