"""`python -m embedded up` with the worker of the chaos tests."""

import sys
from pathlib import Path

import msgspec

from embedded.__main__ import main
from embedded.services import SERVICES

if __name__ == "__main__":
    worker = msgspec.structs.replace(SERVICES["export-worker"], script=str(Path(__file__).parent / "worker.py"))
    sys.exit(main(["up"], {**SERVICES, "export-worker": worker}))
