"""`python -m inference_proxy`: serves until SIGTERM."""

import sys

from contracts.errors import Permanent
from inference_proxy.app import SERVICE, build_app
from inference_proxy.settings import Settings
from servicekit import process, settings, telemetry
from servicekit.http import serve


async def main() -> None:
    """Serve until asked to stop."""
    given = settings.load(Settings)
    tracing = telemetry.setup(SERVICE)
    try:
        async with build_app(given, tracing) as api:
            await serve(api, given.host, given.port, grace_s=3)
    finally:
        tracing.shutdown()


if __name__ == "__main__":
    try:
        process.run(main())
    except Permanent as error:
        sys.exit(f"{SERVICE}: {error.message}")
