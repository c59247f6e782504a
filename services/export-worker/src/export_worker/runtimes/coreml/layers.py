"""What single layers of a Core ML model compute: results of the saved program, matched with torch modules by their names."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from export_worker.formats.coreml_names import encoded, module_of
from export_worker.loaded import Array, Artefact
from export_worker.parity.divergence import LayerPair, SourceLayer
from export_worker.runtimes.coreml.program import Step, names_read
from export_worker.runtimes.coreml.runtime import Evaluator


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the program once with what leaves every module as an output, and pairs them in the order of execution.

    A layer that the converter folded into its successor (a convolution into its normalisation) has no result of its own.
    """
    evaluator = Evaluator(artefact)
    known = {encoded(name): name for name, _ in artefact.graph.named_modules(remove_duplicate=False) if name}
    leaving = results_of(evaluator.program.steps, known)
    values = evaluator.program(evaluator.given(tensor), set(leaving.values()))
    before = ""
    for layer in source:
        # a container whose last part was folded into what follows has no result either
        folded = before.startswith(f"{layer.name}.") and before not in leaving
        before = layer.name
        if layer.name in leaving and not folded:
            name = leaving[layer.name]
            yield LayerPair(layer.name, name, layer.output, values[name].numpy())


def results_of(steps: Sequence[Step], known: Mapping[str, str]) -> dict[str, str]:
    """Module -> the one result of its operators that others read; modules of several such results are left out."""
    places = {result.name: module_of(result.name, known) for step in steps for result in step.results}
    leaving: dict[str, set[str]] = defaultdict(set)
    unsure: set[str] = set()
    for step in steps:
        reader = places[step.results[0].name]
        for name in names_read(step):
            path = places.get(name, "")
            while path:
                if not reader:
                    unsure.add(path)
                elif not f"{reader}.".startswith(f"{path}."):
                    leaving[path].add(name)
                path = path.rpartition(".")[0]
    return {path: next(iter(found)) for path, found in leaving.items() if len(found) == 1 and path not in unsure}
