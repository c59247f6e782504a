"""`python -m export_worker.run` with the stand-in converter; what is to go wrong outside the sandbox stands in the training's config."""

import os
import signal
import sys
from pathlib import Path

from contracts.execution import ExportRun
from export_worker.run import PARENT, main

CONVERTER = (Path(__file__).parents[1] / "chaos" / "converter.py").read_text()

if __name__ == "__main__":
    told = ExportRun.from_env(os.environ).request.source_config
    flag = told.get("kills_its_worker_while")
    if flag and Path(str(flag)).exists():
        os.kill(int(os.environ[PARENT]), signal.SIGKILL)
    slow = CONVERTER.replace("STAGE_S = 0.15", f"STAGE_S = {told.get('stage_s', 0.15)}")
    code = main(sys.argv[1:], command=(sys.executable, "-S", "-c", slow))
    sys.stdout.flush()
    os._exit(code)
