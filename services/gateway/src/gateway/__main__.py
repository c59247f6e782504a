"""`python -m gateway`: serve until SIGTERM."""

from gateway.app import build_app, running
from gateway.parts import SERVICE
from gateway.settings import Settings
from servicekit import http, process, settings, telemetry

GRACE_S = 6


async def main() -> None:
    """Serve until asked to stop; followers of events reconnect to another replica or to the next process."""
    configured = settings.load(Settings)
    telemetered = telemetry.setup(SERVICE)
    try:
        async with running(configured, telemetered) as parts:
            app = build_app(parts)
            await http.serve(app, configured.host, configured.port, grace_s=GRACE_S, stopping=parts.progress.end)
    finally:
        telemetered.shutdown()


if __name__ == "__main__":
    process.run(SERVICE, main())
