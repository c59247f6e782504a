"""`python -m export_worker.run` with the hostile child in its sandbox; the first argument says what that does."""

import json
import os
import sys
from pathlib import Path

from export_worker.run import main

SOURCE = (Path(__file__).parent / "hostile_child.py").read_text()
GOLDEN = Path(__file__).parents[3] / "libs/contracts/tests/golden/export.models.exported.v1.json"

if __name__ == "__main__":
    metadata = {**json.loads(GOLDEN.read_text())["metadata"], "runtime_wrappers": {}, "files": []}
    command = (sys.executable, "-S", "-c", SOURCE, sys.argv[1], json.dumps(metadata))
    code = main(sys.argv[2:], command=command)
    os._exit(code)
