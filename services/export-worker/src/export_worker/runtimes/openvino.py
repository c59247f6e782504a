"""OpenVINO models on OpenVINO's CPU plugin, in float32 arithmetic, and what their single layers compute."""

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino

from contracts.vocabulary import Proof
from export_worker.formats.onnx2openvino import BIN, XML
from export_worker.loaded import Array, Artefact, threads
from export_worker.parity.divergence import LayerPair, SourceLayer
from export_worker.runtimes.named_nodes import matched


class OpenVinoRuntime:
    """One compiled model; outputs in the order of the graph."""

    proof = Proof.VERIFIED

    def __init__(self, path: Path) -> None:
        self.name = f"openvino {openvino.__version__.split('-')[0]} (CPU)"
        self.compiled = compiled(read(path))

    def __call__(self, tensor: Array) -> list[Array]:
        made = self.compiled(tensor)
        return [np.array(made[port]) for port in self.compiled.outputs]


def open_artefact(artefact: Artefact) -> OpenVinoRuntime:
    """The exported files in their runtime."""
    return OpenVinoRuntime(artefact.path)


def read(path: Path) -> openvino.Model:
    """The model inside the stored zip."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        for name in (XML, BIN):
            archive.extract(name, folder)
        return openvino.Core().read_model(str(Path(folder) / XML))


def compiled(model: openvino.Model) -> openvino.CompiledModel:
    """For the CPU; float32 whatever the processor could do with less."""
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
    return openvino.Core().compile_model(model, "CPU", hints)


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the model once with every matched operator as an output; operators keep the names that the ONNX exporter gave."""
    model = read(artefact.path)
    modules = {name for name, _ in artefact.graph.named_modules()}
    inner = (op for op in model.get_ordered_ops() if op.get_type_name() not in {"Constant", "Result", "Parameter"})
    nodes = [(op.get_friendly_name(), op) for op in inner]
    pairs = list(matched(nodes, source, modules))
    before = len(model.outputs)
    for _, op in pairs:
        model.add_outputs(op.output(0))
    program = compiled(model)
    answers = program(tensor)
    for (layer, op), port in zip(pairs, program.outputs[before:], strict=True):
        yield LayerPair(layer.name, op.get_friendly_name(), layer.output, np.array(answers[port]), op.get_type_name())
