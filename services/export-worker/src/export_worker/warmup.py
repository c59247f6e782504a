"""Pays, before a job arrives, what a first export costs: imports, the exporter's tables, the runtimes' start."""

import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch

from contracts.vocabulary import ExportFormat
from export_worker import registry
from export_worker.toolchains import is_installed

SIDE = 32


SLOW = frozenset({ExportFormat.COREML})
"""Imports of several seconds and 300 MiB beside toolchains whose jobs need none of it."""


def entries() -> list[str]:
    """What is imported before the job: other environments have the toolchains of other formats."""
    return [*_of({name for name in ExportFormat if is_installed(name)} - SLOW), registry.VERIFIER]


def later() -> list[str]:
    """What is imported where no job comes for a while."""
    return _of({name for name in SLOW if is_installed(name)})


def _of(formats: set[ExportFormat]) -> list[str]:
    converters = [entry for (_, made), entry in registry.CONVERTERS.items() if made in formats]
    return [*converters, *(registry.RUNTIMES[name] for name in sorted(formats & set(registry.RUNTIMES)))]


def warm() -> None:
    """Imports what `entries` names, and takes a model of one layer through torch's exporters."""
    for entry in entries():
        registry.resolve(entry)
    if is_installed(ExportFormat.TFLITE):
        registry.resolve("export_worker.formats.tflite_lowering:rehearse")()
    module, example = torch.nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "warm.onnx")
        torch.onnx.export(module, (example,), path, dynamo=False, opset_version=17)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: example.numpy()})
        torch.jit.trace(module, example, check_trace=False)
