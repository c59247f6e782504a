"""`python -m bench`: run everything against a stack and write bench/RESULTS.md.

It starts stacks of its own, in folders of their own, and stops them afterwards.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import formats, jobs, memory, serving, starts, streaming, stub, warm
from bench.platform import OWN_HOME, OWN_PORT_BASE, own_platform

RESULTS = Path(__file__).parent / "RESULTS.md"
SECTIONS = (
    memory.measure,
    jobs.measure,
    starts.measure,
    serving.measure,
    stub.measure,
    warm.measure,
    formats.measure,
    streaming.measure,
)
"""Memory first: it speaks of services that have done nothing yet."""


def main() -> int:
    """Exit code 0 when every section could be measured; targets missed are told, not failed."""
    console = Console(stderr=True)
    with own_platform(console.print, OWN_HOME, OWN_PORT_BASE) as platform_:
        parts = [_head()]
        for section in SECTIONS:
            console.print(f"[bold]{section.__module__.removeprefix('bench.')}[/bold]")
            parts.append(section(platform_, console.print))
            RESULTS.write_text("\n\n".join(parts) + "\n")
    console.print(f"wrote {RESULTS}")
    return 0


def _head() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    ).stdout.strip()
    return (
        "# Results\n\n"
        "Written by `make bench`. Every figure that matters is a ratio: both sides ran in the same run, in turns, on the same machine. Absolute "
        "times say more about the machine than about the code.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit or 'unknown'}, {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}; load generator, services, Triton, NATS, PostgreSQL and S3 share them. The sample is `shapes-detector` (yolo11n, 160 px)."
    )


if __name__ == "__main__":
    sys.exit(main())
