"""`python -m export_worker.run` with the converter of the chaos tests in its sandbox; everything outside of it is the real one."""

import os
import sys
from pathlib import Path

from export_worker.run import main

CONVERTER = (Path(__file__).parent / "converter.py").read_text()

if __name__ == "__main__":
    code = main(sys.argv[1:], command=(sys.executable, "-S", "-c", CONVERTER))
    sys.stdout.flush()
    os._exit(code)
