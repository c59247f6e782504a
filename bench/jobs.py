"""(a) Wall time of a job, POST to completed package, against the plain library export of the same checkpoint in a fresh process."""

import time
from collections import defaultdict

from bench.figures import median, table, verdict
from bench.plain import OPSET, plain_seconds
from bench.platform import Platform, Say, own_platform
from contracts.vocabulary import ExportFormat
from modelport.models import ExportJob

ROUNDS = 5
COLD, WARM = 1.15, 0.75
COLD_HOME, COLD_PORT_BASE = ".modelport-bench-cold", 19600


def measure(platform: Platform, say: Say) -> str:
    """All sides in turns; before each both stacks are quiet, so that none pays for another."""
    with own_platform(say, COLD_HOME, COLD_PORT_BASE, WARM_RUNS="false") as cold_platform:
        return _measure(platform, cold_platform, say)


def _measure(platform: Platform, cold_platform: Platform, say: Say) -> str:
    for each in (platform, cold_platform):
        each.export()
    plain_seconds(platform.sample.checkpoint, ExportFormat.ONNX)
    warm, behind, cold, plain = [], [], [], []
    stages: dict[str, defaultdict[str, list[float]]] = {"warm": defaultdict(list), "cold": defaultdict(list)}
    for number in range(1, ROUNDS + 1):
        platform.settle()
        seconds, job = _timed(platform)
        warm.append(seconds)
        _note(platform, job, stages["warm"])
        behind.append(_timed(platform)[0])
        platform.settle()
        seconds, job = _timed(cold_platform)
        cold.append(seconds)
        _note(cold_platform, job, stages["cold"])
        plain.append(plain_seconds(platform.sample.checkpoint, ExportFormat.ONNX))
        say(
            f"round {number}: warm {warm[-1]:.2f} s, behind {behind[-1]:.2f} s, cold {cold[-1]:.2f} s, plain {plain[-1]:.2f} s"
        )
    rows = [
        (*(f"{each:.2f}" for each in row), *(f"{each / row[3]:.2f}" for each in row[:3]))
        for row in zip(warm, behind, cold, plain, strict=True)
    ]
    return (
        "## (a) A job against the plain export\n\n"
        f"POST → completed package through the platform, against what a person does without it: `YOLO(checkpoint).export(format='onnx', opset={OPSET})` "
        "in a fresh process, which imports, loads, converts, simplifies and writes one file. The job also fetches the checkpoint, compares 32 inputs "
        "with the source model, measures latency, and builds and stores the package, each step in the sandbox. "
        f"Medians of {ROUNDS} rounds:\n\n"
        f"- a job that finds a warm run waiting: {verdict(_ratio(warm, plain), WARM)}\n"
        f"- a cold job (a worker with `MODELPORT_WARM_RUNS=false`): {verdict(_ratio(cold, plain), COLD)}\n"
        f"- a job right behind another one, whose warm run was begun beside that: {verdict(_ratio(behind, plain), COLD)}\n\n"
        + table(("warm, s", "behind, s", "cold, s", "plain, s", "ratio warm", "ratio behind", "ratio cold"), rows)
        + "\n\nWhere the time of a job goes (spans nest, so they do not add up):\n\n"
        + table(("span", "warm, median ms", "cold, median ms"), _largest(stages["warm"], stages["cold"]))
    )


def _timed(platform: Platform) -> tuple[float, ExportJob]:
    began = time.perf_counter()
    job = platform.export()
    return time.perf_counter() - began, job


def _note(platform: Platform, job: ExportJob, stages: defaultdict[str, list[float]]) -> None:
    """The spans of a job; those of its last moments reach the collector a second later."""
    time.sleep(1.5)
    for span in platform.client.exports.trace(job.id).spans:
        stages[f"{span.service}: {span.name}"].append(span.duration_ms)


def _ratio(ours: list[float], plain: list[float]) -> float:
    return median([a / b for a, b in zip(ours, plain, strict=True)])


def _largest(warm: dict[str, list[float]], cold: dict[str, list[float]]) -> list[tuple[str, str, str]]:
    names = sorted(set(warm) & set(cold), key=lambda name: -median(warm[name]))
    return [(name, f"{median(warm[name]):.0f}", f"{median(cold[name]):.0f}") for name in names[:16]]
