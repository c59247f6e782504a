"""`python -m embedded up` whose services are started by `start.py`."""

import sys
from pathlib import Path

from msgspec.structs import replace

from embedded.__main__ import main
from embedded.services import SERVICES

if __name__ == "__main__":
    script = str(Path(__file__).parent / "start.py")
    sys.exit(main(["up"], {name: replace(service, script=script) for name, service in SERVICES.items()}))
