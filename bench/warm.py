"""(h) A queue of ten jobs: a worker with warm runs against one that starts every job cold."""

import time
from collections.abc import Sequence

from bench.figures import median, table
from bench.jobs import COLD_HOME, COLD_PORT_BASE
from bench.platform import SAMPLE, Platform, Say, own_platform

ROUNDS = 2
QUEUES = {"ten of one framework": (SAMPLE,) * 10, "five of each of two, in turns": (SAMPLE, "digits-timm") * 5}


def measure(_: Platform, say: Say) -> str:
    """Both workers keep or lack warm runs of both frameworks; each queue is posted at once to an idle stack, sides in turns."""
    with (
        own_platform(say, ".modelport-bench-warm", 19700, WARM_FRAMEWORKS="ultralytics,timm") as warm,
        own_platform(say, COLD_HOME, COLD_PORT_BASE, WARM_RUNS="false") as cold,
    ):
        rows = [_row(name, samples, warm, cold, say) for name, samples in QUEUES.items()]
    return (
        "## (h) A queue of ten jobs\n\n"
        "Ten jobs posted at once to a worker of one slot, until the last package is completed. Warm: a worker that keeps a run imported for each of "
        "the two frameworks, the next one begun beside the job at a low priority ([decision 11](../docs/decisions/0011-warm-runs-beside-the-job.md)); "
        f"cold: `MODELPORT_WARM_RUNS=false`. Medians of {ROUNDS} rounds:\n\n"
        + table(("queue", "warm, s", "cold, s", "warm, s a job", "ratio"), rows)
    )


def _row(name: str, samples: Sequence[str], warm: Platform, cold: Platform, say: Say) -> tuple[str, str, str, str, str]:
    warmed, colded = [], []
    for _ in range(ROUNDS):
        warmed.append(_queue(warm, samples))
        colded.append(_queue(cold, samples))
        say(f"{name}: warm {warmed[-1]:.1f} s, cold {colded[-1]:.1f} s")
    ratio = median([a / b for a, b in zip(warmed, colded, strict=True)])
    mine, other = median(warmed), median(colded)
    return name, f"{mine:.1f}", f"{other:.1f}", f"{mine / len(samples):.2f}", f"{ratio:.2f}"


def _queue(platform: Platform, samples: Sequence[str]) -> float:
    trainings = [platform.training_of(name).id for name in samples]
    platform.settle()
    began = time.perf_counter()
    jobs = [platform.client.exports.create(training, "onnx").id for training in trainings]
    for job in jobs:
        platform.completed(job)
    return time.perf_counter() - began
