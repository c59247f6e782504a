"""golden_vectors.safetensors: examples that the wrappers of every language are held to."""

from collections.abc import Sequence
from pathlib import Path

from contracts.keys import GOLDENS
from contracts.vocabulary import Precision
from export_worker.parity.candidate import Trial
from export_worker.parity.pictures import golden_indices
from processing.golden_examples import Apart, Run, make
from processing.pipeline import Pipeline

FLOAT32, LOWER = Apart(2e-3, 0.5, 0.02), Apart(1e-2, 1.0, 0.05)
"""How far predictions may be apart on another machine; below float32, other processors round in other places."""


def write(folder: Path, pipeline: Pipeline, trials: Sequence[Trial], low: float, precision: Precision) -> Path:
    """The file, made of the trials of the small pictures; `low` is the confidence to fall back to."""
    runs = [
        Run(trials[index].picture, dict(zip(pipeline.output_names, trials[index].outputs, strict=True)))
        for index in golden_indices()
    ]
    path = folder / GOLDENS
    path.write_bytes(make(pipeline, runs, FLOAT32 if precision is Precision.FP32 else LOWER, low))
    return path
