"""(c) From the POST to the start of the work."""

import time

from bench.figures import percentile, table
from bench.platform import Platform, Say
from modelport.models import ExportJob

WARM, COLD = 20, 5
PAUSE_S = 0.5


def measure(platform: Platform, say: Say) -> str:
    """Each job is cancelled as soon as it has started; with a warm run the next one waits until the stack is quiet."""
    seen, told, cold = [], [], []
    for number in range(1, WARM + 1):
        platform.settle()
        milliseconds, job = _start(platform)
        seen.append(milliseconds)
        if job.started_at and job.created_at:
            told.append((job.started_at - job.created_at).total_seconds() * 1000)
        if number % 5 == 0:
            say(f"{number} of {WARM} jobs started")
    for _ in range(COLD):
        time.sleep(PAUSE_S)
        cold.append(_start(platform)[0])
    say(f"without a warm run: {', '.join(f'{value:.0f}' for value in cold)} ms")
    rows = [
        (name, len(values), f"{percentile(values, 50):.0f}", f"{percentile(values, 99):.0f}", f"{min(values):.0f}")
        for name, values in (
            ("warm run waiting: POST sent → first event at the client", seen),
            ("warm run waiting: in the gateway's row", told),
            ("none waiting (right behind another job): at the client", cold),
        )
    ]
    return (
        "## (c) POST → worker start\n\n"
        "One job at a time. Between the two: transaction, outbox relay, JetStream with `sync_interval: always`, lease, hand-over to the run, its first "
        "progress through JetStream, the gateway's fold, server-sent event. With so few jobs p99 is the slowest.\n\n"
        + table(("", "jobs", "p50 ms", "p99 ms", "least ms"), rows)
    )


def _start(platform: Platform) -> tuple[float, ExportJob]:
    """Milliseconds until the first word of the worker, and the job, cancelled then."""
    began = time.perf_counter()
    job = platform.client.exports.create(platform.training.id, "onnx")
    next(state for state in platform.client.exports.follow(job.id) if state.event == "progressed")
    milliseconds = (time.perf_counter() - began) * 1000
    return milliseconds, platform.client.exports.cancel(job.id)
