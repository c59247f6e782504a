"""What single layers of an ONNX model compute: its inner tensors, matched with torch modules by the names the exporter gave."""

from collections.abc import Collection, Iterator, Sequence

import onnx
import onnxruntime
from torch.nn.modules.batchnorm import _NormBase

from export_worker.loaded import Array, Artefact
from export_worker.parity.divergence import LayerPair, SourceLayer


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the model once with every matched inner tensor as an output, and pairs them in the order of execution."""
    model = onnx.load(str(artefact.path))
    modules = {name for name, _ in artefact.graph.named_modules()}
    names = {layer.name: made for layer, made in _matched(model, source, modules)}
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names.values()) if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = list(dict.fromkeys(names.values()))
    values = dict(zip(wanted, session.run(wanted, {session.get_inputs()[0].name: tensor}), strict=True))
    for layer in source:
        if layer.name in names:
            yield LayerPair(layer.name, names[layer.name], layer.output, values[names[layer.name]])


def _matched(
    model: onnx.ModelProto, source: Sequence[SourceLayer], modules: Collection[str]
) -> Iterator[tuple[SourceLayer, str]]:
    """Layers and the tensors that hold their outputs.

    The exporter names a node by the path of the module that ran it. A batch normalisation that it folded into the convolution
    before has no node: its output is the convolution's, and the convolution alone can no longer be seen.
    """
    last: dict[str, str] = {}
    inside: dict[str, str] = {}
    for node in model.graph.node:
        path = module_of(node.name, modules)
        if node.op_type == "Constant" or not path:
            continue
        last[path] = node.output[0]
        parts = path.split(".")
        inside.update({".".join(parts[:depth]): path for depth in range(1, len(parts) + 1)})
    for index, layer in enumerate(source):
        folded = _folded_norm(source, index, last)
        if layer.name in last and inside[layer.name] == layer.name and folded is None:
            yield layer, last[layer.name]
        elif folded is not None and layer.name in last:
            yield folded, last[layer.name]


def _folded_norm(source: Sequence[SourceLayer], index: int, last: dict[str, str]) -> SourceLayer | None:
    """The normalisation that runs right after this layer and has no node of its own."""
    own = source[index].name
    following = next((layer for layer in source[index + 1 :] if not own.startswith(f"{layer.name}.")), None)
    if following is None or not isinstance(following.module, _NormBase):
        return None
    return following if following.name not in last else None


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
