"""(c) From the POST to the start of the work."""

import time

from bench.figures import percentile, table
from bench.platform import Platform, Say

ROUNDS = 20


def measure(platform: Platform, say: Say) -> str:
    """Each job is cancelled as soon as it has started; the next one waits until the stack is quiet."""
    seen, until_row = [], []
    for number in range(1, ROUNDS + 1):
        platform.settle()
        began = time.perf_counter()
        job = platform.client.exports.create(platform.training.id, "onnx")
        for state in platform.client.exports.follow(job.id):
            if state.event == "progressed":
                break
        seen.append((time.perf_counter() - began) * 1000)
        row = platform.client.exports.cancel(job.id)
        if row.started_at and row.created_at:
            until_row.append((row.started_at - row.created_at).total_seconds() * 1000)
        if number % 5 == 0:
            say(f"{number} of {ROUNDS} jobs started")
    rows = [
        (name, f"{percentile(values, 50):.0f}", f"{percentile(values, 99):.0f}", f"{min(values):.0f}")
        for name, values in (("seen by the client, POST sent → first event", seen), ("in the gateway's row", until_row))
    ]
    return (
        "## (c) POST → worker start\n\n"
        f"{ROUNDS} jobs, one at a time, a warm run waiting. Between the two: transaction, outbox relay, JetStream with `sync_interval: always`, lease, "
        "hand-over to the warm run, its first progress through JetStream, the gateway's fold, server-sent event. With so few jobs p99 is the "
        "slowest.\n\n" + table(("", "p50 ms", "p99 ms", "least ms"), rows)
    )
