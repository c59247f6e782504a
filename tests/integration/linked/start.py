"""Starts one service of the linked stack: the real one, its servers behind links, the worker with bad runs among the good ones.

`MODELPORT_TEST_LINKS` has, by service, the variables that outrank those of the stack.
"""

import json
import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    name = os.environ["OTEL_SERVICE_NAME"]
    os.environ.update(json.loads(os.environ.pop("MODELPORT_TEST_LINKS"))[name])
    if name == "export-worker":
        here = Path(__file__).parent
        sys.argv = [str(here.parent / "chaos" / "worker.py"), str(here / "run.py")]
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(name.replace("-", "_"), run_name="__main__", alter_sys=True)
