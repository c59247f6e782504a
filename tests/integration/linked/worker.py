"""`python -m export_worker` whose runs are those of `run.py`; the service is the real one."""

import os
import sys
from functools import partial
from pathlib import Path

from export_worker import __main__ as service
from export_worker import app
from export_worker.launchers.subprocess import SubprocessLauncher
from export_worker.settings import load

COMMAND = (sys.executable, str(Path(__file__).parent / "run.py"))

if __name__ == "__main__":
    work = Path(load().worker.work_dir) / "runs"
    service.build_app = partial(app.build_app, launcher=SubprocessLauncher(work, os.environ, command=COMMAND))
    sys.exit(service.main())
