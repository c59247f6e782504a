"""LiteRT (TFLite) models in the LiteRT interpreter on the CPU."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from contracts.vocabulary import Proof
from export_worker.loaded import Array, Artefact, threads


class TfliteRuntime:
    """One interpreter with XNNPACK; a call is one run, its outputs in the order of `outputs`."""

    proof = Proof.VERIFIED

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        self.name = f"ai-edge-litert {version('ai-edge-litert')} (CPU)"
        self.interpreter = Interpreter(model_path=str(path), num_threads=threads())
        (self.signature,) = self.interpreter.get_signature_list()
        self.run = self.interpreter.get_signature_runner(self.signature)
        (self.input,) = self.run.get_input_details()
        self.outputs = tuple(outputs)

    def __call__(self, tensor: Array) -> list[Array]:
        answers = self.run(**{self.input: tensor})
        # a call's arrays are views of memory that the next call writes to
        return [answers[name].copy() for name in self.outputs]


def open_artefact(artefact: Artefact) -> TfliteRuntime:
    """The exported file in its runtime."""
    return TfliteRuntime(artefact.path, [spec.name for spec in artefact.output_specs])
