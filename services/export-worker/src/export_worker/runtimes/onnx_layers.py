"""What single layers of an ONNX model compute: its inner tensors, matched with torch modules by the names the exporter gave."""

from collections.abc import Iterator, Sequence

import onnx
import onnxruntime

from export_worker.loaded import Array, Artefact
from export_worker.parity.divergence import LayerPair, SourceLayer
from export_worker.runtimes.named_nodes import matched


def layers(artefact: Artefact, tensor: Array, source: Sequence[SourceLayer]) -> Iterator[LayerPair]:
    """Runs the model once with every matched inner tensor as an output, and pairs them in the order of execution."""
    model = onnx.load(str(artefact.path))
    modules = {name for name, _ in artefact.graph.named_modules()}
    kinds = {node.output[0]: node.op_type for node in model.graph.node}
    nodes = [(node.name, node.output[0]) for node in model.graph.node if node.op_type != "Constant"]
    pairs = list(matched(nodes, source, modules))
    known = {value.name for value in model.graph.output}
    wanted = list(dict.fromkeys(made for _, made in pairs))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = dict(zip(wanted, session.run(wanted, {session.get_inputs()[0].name: tensor}), strict=True))
    for layer, made in pairs:
        yield LayerPair(layer.name, made, layer.output, values[made], kinds[made])
