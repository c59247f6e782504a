"""TorchScript models in torch's own interpreter on the CPU, and what their single layers compute."""

from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import torch

from contracts.vocabulary import Proof
from export_worker.loaded import Array, Artefact
from export_worker.parity.divergence import LayerPair, SourceLayer


class TorchScriptRuntime:
    """The saved file, loaded as its users load it."""

    proof = Proof.VERIFIED

    def __init__(self, path: Path) -> None:
        self.name = f"torch {torch.__version__} (TorchScript, CPU)"
        self.module = torch.jit.load(str(path), map_location="cpu").eval()

    def __call__(self, tensor: Array) -> list[Array]:
        with torch.inference_mode():
            output = self.module(torch.from_numpy(tensor.copy()))
        return [output.numpy()] if isinstance(output, torch.Tensor) else [each.numpy() for each in output]


def open_artefact(artefact: Artefact) -> TorchScriptRuntime:
    """The exported file in its runtime."""
    return TorchScriptRuntime(artefact.path)


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Each saved submodule, given what its torch counterpart was given: a layer is judged alone, not by what came before it."""
    module = torch.jit.load(str(artefact.path), map_location="cpu").eval()
    for layer in source:
        try:
            part = reduce(getattr, layer.name.split("."), module)
            with torch.inference_mode():
                output = part(*layer.inputs)
        except (AttributeError, RuntimeError, NotImplementedError):
            # inlined by the tracer: nothing of this name can be called
            continue
        if isinstance(output, torch.Tensor):
            yield LayerPair(layer.name, layer.name, layer.output, output.numpy())
