"""`python -m export_worker` whose runs have the hostile child in their sandbox, doing the deed of the first argument."""

import asyncio
import os
import sys
from pathlib import Path

from export_worker.app import build_app
from export_worker.launchers.subprocess import SubprocessLauncher
from export_worker.settings import load
from servicekit import telemetry


async def serve() -> None:
    settings = load()
    command = (sys.executable, str(Path(__file__).parent / "fake_run.py"), sys.argv[1])
    launcher = SubprocessLauncher(Path(settings.worker.work_dir) / "runs", os.environ, command=command)
    app = build_app(settings, telemetry=telemetry.setup("export-worker"), launcher=launcher)
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
