"""`python -m tests.attack.limited`: an inference proxy whose tiers are small, and whose wall clock a file moves.

LIMITS is JSON, requests a month and a minute by tier (null: no limit); SKEW names the file with the seconds by which this
proxy's wall clock is wrong.
"""

import os
import time
from pathlib import Path

import msgspec

from contracts.tiers import TIERS
from contracts.vocabulary import Tier
from inference_proxy.app import SERVICE, build_app
from inference_proxy.settings import Settings
from servicekit import process, settings, telemetry
from servicekit.http import serve


def move_wall_clock(file: Path) -> None:
    """From now on `time.time` is wrong by what the file says."""
    true_s, true_ns = time.time, time.time_ns

    def skew() -> float:
        return float(file.read_text() or 0) if file.exists() else 0.0

    time.time = lambda: true_s() + skew()
    time.time_ns = lambda: true_ns() + int(skew() * 1e9)


async def main() -> None:
    move_wall_clock(Path(os.environ["SKEW"]))
    limits = msgspec.json.decode(os.environ["LIMITS"], type=dict[Tier, tuple[int | None, int]])
    tiers = {
        tier: msgspec.structs.replace(TIERS[tier], requests_per_month=month, rate_limit_per_minute=minute)
        for tier, (month, minute) in limits.items()
    }
    given = settings.load(Settings)
    tracing = telemetry.setup(SERVICE)
    async with build_app(given, tracing, tiers) as api:
        await serve(api, given.host, given.port, grace_s=3)


if __name__ == "__main__":
    process.run(SERVICE, main())
