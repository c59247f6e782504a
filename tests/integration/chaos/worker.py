"""`python -m export_worker` whose runs are those of `run.py`; the service is the real one."""

import asyncio
import signal
import sys
from pathlib import Path

from export_worker.app import build_app
from export_worker.settings import load
from servicekit import telemetry


async def serve() -> None:
    """Run until SIGTERM."""
    command = (sys.executable, str(Path(__file__).parent / "run.py"))
    app = build_app(load(), telemetry=telemetry.setup("export-worker"), command=command)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.start()
    await stop.wait()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(serve())
