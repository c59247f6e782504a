"""Nodes of a converted graph paired with the torch modules that they came from, by the names that torch's ONNX exporter gave them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from torch.nn.modules.batchnorm import _NormBase

from export_worker.parity.divergence import SourceLayer

Node = TypeVar("Node")


def matched(
    nodes: Iterable[tuple[str, Node]], source: Sequence[SourceLayer], modules: Collection[str]
) -> Iterator[tuple[SourceLayer, Node]]:
    """Layers and the nodes that compute their outputs; `nodes` are names and nodes in the order of execution, constants left out.

    The exporter names a node by the path of the module that ran it. A batch normalisation that it folded into the convolution
    before has no node: its output is the convolution's, and the convolution alone can no longer be seen.
    """
    last: dict[str, Node] = {}
    inside: dict[str, str] = {}
    for name, node in nodes:
        path = module_of(name, modules)
        if not path:
            continue
        last[path] = node
        parts = path.split(".")
        inside.update({".".join(parts[:depth]): path for depth in range(1, len(parts) + 1)})
    for index, layer in enumerate(source):
        folded = _folded_norm(source, index, last)
        if layer.name in last and inside[layer.name] == layer.name and folded is None:
            yield layer, last[layer.name]
        elif folded is not None and layer.name in last:
            yield folded, last[layer.name]


def _folded_norm(source: Sequence[SourceLayer], index: int, last: Collection[str]) -> SourceLayer | None:
    """The normalisation that runs right after this layer and has no node of its own, with what it answers."""
    own = source[index].name
    following = next((layer for layer in source[index + 1 :] if not own.startswith(f"{layer.name}.")), None)
    if following is None:
        return None
    if isinstance(following.module, _NormBase):
        return following if following.name not in last else None
    around = (layer for layer in source[index + 1 :] if following.name.startswith(f"{layer.name}."))
    norm = next((layer for layer in around if isinstance(layer.module, _NormBase)), None)
    if norm is None or norm.name in last or not following.inputs:
        return None
    # timm's normalisations call their activation themselves: their own answer is what the activation was given
    return norm._replace(output=following.inputs[0].numpy())


def module_of(node: str, modules: Collection[str]) -> str:
    """The module that a node of this name belongs to, or "".

    A name is the path of the calls: "/layer2/layer2.0/conv1/Conv" is of layer2.0.conv1. A container that calls its children repeats its own
    name in theirs, one whose children are called by somebody else does not appear: which it is, the modules themselves tell.
    """
    spelt: set[tuple[str, str]] = {("", "")}
    for part in node.strip("/").split("/")[:-1]:
        longer = set()
        for path, previous in spelt:
            longer.add((f"{path}.{part}".strip("."), part))
            if previous and part.startswith(f"{previous}."):
                longer.add((path + part.removeprefix(previous), part))
        spelt = longer
    return next((path for path, _ in sorted(spelt) if path in modules), "")
