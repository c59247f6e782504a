"""`python -m packager`: runs the packager until SIGTERM."""

import sys

from contracts.errors import ModelportError
from packager.app import SERVICE, run_app
from packager.settings import Settings
from servicekit import process, settings, telemetry


async def main() -> None:
    """Run until asked to stop."""
    stop = process.stop_event()
    tracing = telemetry.setup(SERVICE)
    try:
        async with run_app(settings.load(Settings), tracing):
            await stop.wait()
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    try:
        process.run(main())
    except ModelportError as error:
        sys.exit(f"{SERVICE}: {error.message}")
