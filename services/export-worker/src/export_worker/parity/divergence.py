"""Where an artefact begins to differ from its source: the first layer, in the order of execution, over the tolerance."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from export_worker import registry
from export_worker.loaded import Array, Artefact
from export_worker.parity.causes import Evidence, Floats, probable
from export_worker.parity.report import Divergence, Statistics
from export_worker.parity.tolerances import Tolerance


class SourceLayer(NamedTuple):
    """One module of the converted graph, as it ran in torch."""

    name: str
    module: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    output: Array


class LayerPair(NamedTuple):
    """The same layer in both: what torch computed, what the artefact computed, the artefact's name for it and its operator there."""

    layer: str
    tensor: str
    expected: Array
    measured: Array
    operator: str = ""


def first(artefact: Artefact, tensor: Array, limits: Tolerance) -> Divergence | None:
    """The first layer over its limit, in the order of execution.

    None where no layer of the graph differs (the fault lies before or after it) or the runtime shows no layers.
    """
    entry = registry.LAYERS.get(artefact.export_format)
    if entry is None:
        return None
    source = Recorder(artefact.graph).run(tensor)
    known = {layer.name: layer for layer in source}
    pairs: Iterator[LayerPair] = registry.resolve(entry)(artefact, tensor, source)
    for compared, pair in enumerate((p for p in pairs if p.expected.shape == p.measured.shape), start=1):
        allowed = max(limits.relative * float(np.abs(pair.expected).max(initial=0.0)), limits.absolute)
        largest = float(np.abs(pair.expected - pair.measured).max(initial=0.0))
        if not largest <= allowed:
            return _told(pair, known[pair.layer], artefact, largest, allowed, compared)
    return None


def _told(
    pair: LayerPair, layer: SourceLayer, artefact: Artefact, largest: float, allowed: float, compared: int
) -> Divergence:
    expected, measured = pair.expected.astype(np.float64), pair.measured.astype(np.float64)
    cause = probable(Evidence(layer.module, layer.inputs, expected, measured, artefact.precision, allowed))
    return Divergence(
        layer=pair.layer,
        module=type(layer.module).__name__,
        tensor=pair.tensor,
        operator=pair.operator,
        max_abs=largest if np.isfinite(largest) else None,
        allowed=allowed,
        compared=compared,
        expected=statistics(expected),
        measured=statistics(measured),
        cause=cause.name,
        explanation=cause.sentence,
    )


def statistics(values: Floats) -> Statistics:
    """Of the finite values, and how many are not."""
    finite = values[np.isfinite(values)]
    numbers = (finite.min(), finite.max(), finite.mean(), finite.std()) if finite.size else (0.0, 0.0, 0.0, 0.0)
    least, most, mean, deviation = map(float, numbers)
    return Statistics(min=least, max=most, mean=mean, std=deviation, not_finite=int(values.size - finite.size))


class Recorder:
    """Watches one run of a module and keeps what each of its parts was given and gave back."""

    def __init__(self, graph: torch.nn.Module) -> None:
        self.graph = graph
        self.calls: dict[str, int] = {}
        self.inputs: dict[str, tuple[torch.Tensor, ...]] = {}
        self.ran: list[SourceLayer] = []

    def run(self, tensor: Array) -> list[SourceLayer]:
        """Every part that ran exactly once and gave one float tensor, in the order in which they finished."""
        handles = []
        for name, module in self.graph.named_modules():
            if name:
                handles.append(module.register_forward_pre_hook(self._before(name)))
                handles.append(module.register_forward_hook(self._after(name)))
        try:
            with torch.inference_mode():
                self.graph(torch.from_numpy(tensor))
        finally:
            for handle in handles:
                handle.remove()
        return [layer for layer in self.ran if self.calls[layer.name] == 1]

    def _before(self, name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self.calls[name] = self.calls.get(name, 0) + 1
            self.inputs[name] = tuple(value.clone() for value in inputs if isinstance(value, torch.Tensor))

        return hook

    def _after(self, name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                self.ran.append(SourceLayer(name, module, self.inputs[name], output.numpy().copy()))

        return hook
