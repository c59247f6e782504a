"""`python -m export_worker` whose runs have the hostile child in their sandbox, doing the deed of the first argument."""

import asyncio
import sys
from pathlib import Path

from export_worker.app import build_app
from export_worker.settings import load
from servicekit import telemetry


async def serve() -> None:
    command = (sys.executable, str(Path(__file__).parent / "fake_run.py"), sys.argv[1])
    app = build_app(load(), telemetry=telemetry.setup("export-worker"), command=command)
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
