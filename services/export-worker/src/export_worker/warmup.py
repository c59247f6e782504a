"""Pays, before a job arrives, what a first export costs: imports, the exporter's tables, the runtimes' start."""

import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch

from export_worker import registry

SIDE = 32


def warm() -> None:
    """Imports every converter, runtime and the verifier, and takes a model of one layer through torch's exporters."""
    entries = [*registry.CONVERTERS.values(), *registry.RUNTIMES.values(), registry.VERIFIER]
    for entry in entries:
        registry.resolve(entry)
    module, example = torch.nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "warm.onnx")
        torch.onnx.export(module, (example,), path, dynamo=False, opset_version=17)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: example.numpy()})
        torch.jit.trace(module, example, check_trace=False)
