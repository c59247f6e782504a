"""(c) From the POST to the start of the work."""

import time
from pathlib import Path

from bench.figures import percentile, table
from bench.platform import QUIET_S, Platform, Say, own_platform
from modelport.models import ExportJob

MANY, WARM, BEHIND = 100, 10, 5
PAUSE_S, SHORT_S = 0.5, 0.5
TARGET_MS = 50
STAND_IN = str(Path(__file__).parents[1] / "tests" / "integration" / "chaos" / "up.py")
HOME, PORT_BASE = ".modelport-bench-starts", 19800


def measure(platform: Platform, say: Say) -> str:
    """Each job is cancelled as soon as it has started; with a warm run the next one waits until the stack is quiet."""
    with own_platform(say, HOME, PORT_BASE, up=(STAND_IN,)) as standing_in:
        many, rows_many = _starts(standing_in, MANY, say, SHORT_S, "export-worker")
    seen, _ = _starts(platform, WARM, say)
    behind = []
    for _ in range(BEHIND):
        time.sleep(PAUSE_S)
        behind.append(_start(platform)[0])
    say(f"right behind: {', '.join(f'{value:.0f}' for value in behind)} ms")
    rows = [
        (
            name,
            len(values),
            *(f"{value:.0f}" for value in (percentile(values, 50), percentile(values, 99), min(values))),
        )
        for name, values in (
            ("in the gateway's row: POST received → first word of the run", rows_many),
            ("at the client: POST sent → first event received", many),
            ("at the client, real toolchain in the warm run", seen),
            ("at the client, right behind another job, real toolchain", behind),
        )
    ]
    worst = percentile(rows_many, 99)
    return (
        "## (c) POST → worker start\n\n"
        "One job at a time, cancelled once it has started. Between the two: transaction, outbox relay, JetStream with `sync_interval: always`, lease, "
        "hand-over to the waiting run, its first progress through JetStream, the gateway's fold; at the client also the opening of the stream of "
        f"events. p99 over {MANY} starts **{worst:.0f} ms** (target ≤ {TARGET_MS} ms: {'met' if worst <= TARGET_MS else 'missed'}). In the first two "
        "rows the sandboxes hold a stand-in that imports nothing, so that the next one waits within a second and many starts can be measured; "
        "everything before is the real one. With few jobs p99 is the slowest.\n\n"
        + table(("", "jobs", "p50 ms", "p99 ms", "least ms"), rows)
    )


def _starts(
    platform: Platform, count: int, say: Say, quiet_s: float = QUIET_S, *programs: str
) -> tuple[list[float], list[float]]:
    """Milliseconds until the client hears of it, and until the gateway has it in the job's row."""
    _start(platform)
    seen, told = [], []
    for number in range(1, count + 1):
        platform.settle(quiet_s, *programs)
        milliseconds, job = _start(platform)
        seen.append(milliseconds)
        if job.started_at and job.created_at:
            told.append((job.started_at - job.created_at).total_seconds() * 1000)
        if number % 20 == 0:
            say(f"{number} of {count} jobs started")
    return seen, told


def _start(platform: Platform) -> tuple[float, ExportJob]:
    """Milliseconds until the first word of the worker, and the job, cancelled then."""
    training = platform.training.id
    began = time.perf_counter()
    job = platform.client.exports.create(training, "onnx")
    next(state for state in platform.client.exports.follow(job.id) if state.event == "progressed")
    milliseconds = (time.perf_counter() - began) * 1000
    return milliseconds, platform.client.exports.cancel(job.id)
