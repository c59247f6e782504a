"""`python -m export_worker` whose runs are those of `run.py`, or of the script that it is given; the service is the real one."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from export_worker.app import App, build_app
from export_worker.settings import load
from servicekit import process
from servicekit.telemetry import Telemetry

RUN = str(Path(__file__).parent / "run.py")


@asynccontextmanager
async def start(traces: Telemetry) -> AsyncIterator[App]:
    app = build_app(load(), telemetry=traces, command=(sys.executable, *(sys.argv[1:] or [RUN])))
    try:
        await app.start()
        yield app
    finally:
        await app.stop()


if __name__ == "__main__":
    process.run("export-worker", process.hold("export-worker", start))
