"""What single layers of a Core ML model compute: results of the saved program, matched with torch modules by their names."""

from collections.abc import Iterator, Sequence

from export_worker.formats.coreml_names import encoded, module_of
from export_worker.loaded import Array, Artefact
from export_worker.parity.divergence import LayerPair, SourceLayer
from export_worker.runtimes.coreml.runtime import Evaluator


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the program once with the last result of every module as an output, and pairs them in the order of execution.

    A layer that the converter folded into its successor (a convolution into its normalisation) has no result of its own.
    """
    evaluator = Evaluator(artefact)
    known = {encoded(name): name for name, _ in artefact.graph.named_modules() if name}
    last: dict[str, str] = {}
    for step in evaluator.program.steps:
        for result in step.results:
            if path := module_of(result.name, known):
                last[path] = result.name
    values = evaluator.program(evaluator.given(tensor), set(last.values()))
    for layer in source:
        if layer.name in last:
            yield LayerPair(layer.name, last[layer.name], layer.output, values[last[layer.name]].numpy())
