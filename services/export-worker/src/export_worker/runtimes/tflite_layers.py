"""What single layers of a LiteRT model compute: its inner tensors, called by the torch modules that they were made from."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export_worker.loaded import Array, Artefact, threads
from export_worker.parity.divergence import LayerPair, SourceLayer

CHANNELS_FIRST = (0, 3, 1, 2)
FUSING = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"),
        *("ADD", "SUB", "MUL", "DIV", "MAX_POOL_2D", "AVERAGE_POOL_2D"),
    }
)
"""Operators that take over what comes after them, a normalisation or an activation; any other is named after its input as well."""


class Made(NamedTuple):
    """A tensor that an operator of the file makes, its number, and the modules whose operators were fused into it, the last one first."""

    name: str
    number: int
    modules: tuple[str, ...]


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the model once, every inner tensor kept, and pairs those that are the output of a module, in the source's order.

    LiteRT's own kernels run it, not XNNPACK's, which keep what is between them to themselves.
    """
    interpreter = Interpreter(
        model_path=str(artefact.path),
        num_threads=threads(),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    last = _last(_made(interpreter))
    last.pop("pixels", None)  # the converter folds the end of the normalisation into what follows it
    for layer in source:
        found = last.get(layer.name)
        measured = _like(interpreter.get_tensor(found.number), layer.output) if found else None
        if found is not None and measured is not None:
            yield LayerPair(layer.name, found.name, layer.output, measured)


def _made(interpreter: Any) -> list[Made]:
    """In the order of execution."""
    names = {each["index"]: each["name"] for each in interpreter.get_tensor_details()}
    made = []
    for operator in interpreter._get_ops_details():
        for index in operator["outputs"]:
            modules = tuple(part for part in names.get(index, "").split(";") if part and not part.isdigit())
            if modules:
                fused = modules if operator["op_name"] in FUSING else modules[:1]
                made.append(Made(names[index], int(index), fused))
    return made


def _last(made: Sequence[Made]) -> dict[str, Made]:
    """Module -> the last tensor that anything inside it made, where nothing from outside was fused into that."""
    found: dict[str, Made] = {}
    for each in made:
        for module in {outer for part in each.modules for outer in around(part)}:
            found[module] = each
    return {module: each for module, each in found.items() if module in around(each.modules[0])}


def around(path: str) -> set[str]:
    """A module and those that it is in."""
    parts = path.split(".")
    return {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}


def _like(measured: Array, expected: Array) -> Array | None:
    """In torch's layout: the converter moves channels to the end where that is faster, and drops dimensions of one."""
    ways = [measured]
    if measured.ndim == len(CHANNELS_FIRST):
        ways.append(measured.transpose(CHANNELS_FIRST))
    fitting = [way.reshape(expected.shape) for way in ways if _without_ones(way) == _without_ones(expected)]
    return min(fitting, key=lambda way: float(np.abs(way - expected).max(initial=0.0)), default=None)


def _without_ones(array: Array) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)
