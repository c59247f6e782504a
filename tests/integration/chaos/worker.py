"""`python -m export_worker` whose runs are those of `run.py`; the service is the real one."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from export_worker.app import build_app
from export_worker.launchers.subprocess import SubprocessLauncher
from export_worker.settings import load
from servicekit import telemetry


async def serve() -> None:
    """Run until SIGTERM."""
    settings = load()
    work = Path(settings.worker.work_dir) / "runs"
    command = (sys.executable, str(Path(__file__).parent / "run.py"))
    launcher = SubprocessLauncher(work, os.environ, command=command)
    app = build_app(settings, telemetry=telemetry.setup("export-worker"), launcher=launcher)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.start()
    await stop.wait()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(serve())
