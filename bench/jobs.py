"""(a) Wall time of a job, POST to completed package, against the plain library export of the same checkpoint in a fresh process."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from bench.figures import median, table, verdict
from bench.platform import Platform, Say
from modelport.models import ExportJob

ROUNDS = 5
TARGET = 1.25
OPSET = 17
PLAIN = f"import sys; from ultralytics import YOLO; YOLO(sys.argv[1]).export(format='onnx', opset={OPSET})"


def measure(platform: Platform, say: Say) -> str:
    """Both sides in turns; before each the stack is quiet, so that neither pays for the other."""
    platform.export()
    _plain(platform.sample.checkpoint)
    warm, behind, plain, stages = [], [], [], defaultdict[str, list[float]](list)
    for number in range(1, ROUNDS + 1):
        platform.settle()
        seconds, job = _timed(platform)
        warm.append(seconds)
        behind.append(_timed(platform)[0])
        platform.settle()
        plain.append(_plain(platform.sample.checkpoint))
        for span in platform.client.exports.trace(job.id).spans:
            stages[f"{span.service}: {span.name}"].append(span.duration_ms)
        say(f"round {number}: job {warm[-1]:.2f} s, right behind it {behind[-1]:.2f} s, plain {plain[-1]:.2f} s")
    rows = [
        (f"{a:.2f}", f"{b:.2f}", f"{c:.2f}", f"{a / c:.2f}", f"{b / c:.2f}")
        for a, b, c in zip(warm, behind, plain, strict=True)
    ]
    return (
        "## (a) A job against the plain export\n\n"
        f"POST → completed package through the platform, against `YOLO(checkpoint).export(format='onnx', opset={OPSET})` in a fresh process. The job also "
        "fetches the checkpoint, compares 32 inputs with the source model, measures latency, and builds and stores the package. "
        f"Medians of {ROUNDS} rounds:\n\n"
        f"- a job that finds a warm run waiting: {verdict(_ratio(warm, plain), TARGET)}\n"
        f"- a job right behind another one, which finds none: {verdict(_ratio(behind, plain), TARGET)}\n\n"
        + table(("job, s", "right behind, s", "plain, s", "ratio", "ratio right behind"), rows)
        + "\n\nWhere the time of a job with a warm run goes (spans nest, so they do not add up):\n\n"
        + table(("span", "median ms"), _largest(stages))
    )


def _timed(platform: Platform) -> tuple[float, ExportJob]:
    began = time.perf_counter()
    job = platform.export()
    return time.perf_counter() - began, job


def _ratio(ours: list[float], plain: list[float]) -> float:
    return median([a / b for a, b in zip(ours, plain, strict=True)])


def _largest(stages: dict[str, list[float]]) -> list[tuple[str, str]]:
    found = sorted(((median(times), name) for name, times in stages.items()), reverse=True)
    return [(name, f"{duration:.0f}") for duration, name in found[:16]]


def _plain(checkpoint: Path) -> float:
    """Seconds from the start of the interpreter to its end; the library writes beside the checkpoint, so that is a copy."""
    quiet = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(checkpoint, folder))
        environment = {**os.environ, **quiet, "YOLO_CONFIG_DIR": folder}
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", PLAIN, str(copy)], check=True, capture_output=True, cwd=folder, env=environment
        )
        seconds = time.perf_counter() - began
        if not copy.with_suffix(".onnx").exists():
            raise RuntimeError("the plain export wrote no ONNX file")
    return seconds
