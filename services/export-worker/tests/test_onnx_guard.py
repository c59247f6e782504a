"""An ONNX file of a stranger: what reads other files, loads other code or grows without end never leaves the worker."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from contracts.errors import Permanent
from export_worker.sandbox import onnx_guard

Change = Callable[[ModelProto], object]


def graph_of(nodes: list[onnx.NodeProto], initializers: list[TensorProto] | None = None) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        initializers,
    )


def good() -> ModelProto:
    weights = numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    branch = graph_of([helper.make_node("Neg", ["x"], ["y"])])
    del branch.input[:]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["sum"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True), "v")),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    return helper.make_model(graph_of(nodes, [weights]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outside(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def location_only(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def in_a_branch(model: ModelProto) -> None:
    outside(model.graph.node[2].attribute[0].g.initializer.add(name="w", data_type=1, dims=[1]))


def in_a_list(model: ModelProto) -> None:
    tensor = TensorProto(name="t", data_type=1, dims=[1])
    outside(tensor)
    model.graph.node[0].attribute.add(name="many", type=AttributeProto.TENSORS).tensors.append(tensor)


def sparse(model: ModelProto) -> None:
    entry = model.graph.sparse_initializer.add(dims=[1 << 40])
    entry.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "s"))
    entry.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "i"))


def sparse_constant(model: ModelProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.dims.append(1 << 40)


def function(model: ModelProto) -> None:
    model.functions.add(name="f", domain="")


def training(model: ModelProto) -> None:
    model.training_info.add()


def deep(model: ModelProto) -> None:
    graph = model.graph
    for _ in range(40):
        node = graph.node.add(op_type="If")
        attribute = node.attribute.add(name="then_branch", type=AttributeProto.GRAPH)
        graph = attribute.g


def rename(model: ModelProto, op_type: str, domain: str = "") -> None:
    model.graph.node[0].op_type = op_type
    model.graph.node[0].domain = domain


def loop_in_a_branch(model: ModelProto) -> None:
    model.graph.node[2].attribute[0].g.node[0].op_type = "Loop"


HOSTILE: dict[str, tuple[Change, str]] = {
    "external data": (lambda m: outside(m.graph.initializer[0]), "outside the file"),
    "external without a location": (location_only, "outside the file"),
    "external in a constant": (lambda m: outside(m.graph.node[1].attribute[0].t), "outside the file"),
    "external in a branch": (in_a_branch, "outside the file"),
    "external in a list": (in_a_list, "outside the file"),
    "sparse": (sparse, "sparse"),
    "sparse constant": (sparse_constant, "sparse"),
    "giant tensor without data": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 40), "more than its bytes"),
    "negative dimension": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -5), "more than its bytes"),
    "custom operator": (lambda m: rename(m, "PythonOp", "com.microsoft"), "com.microsoft"),
    "context from a file": (lambda m: rename(m, "EPContext", "com.microsoft"), "com.microsoft"),
    "custom domain": (lambda m: rename(m, "Evil", "evil.example"), "evil.example"),
    "endless loop": (lambda m: rename(m, "Loop"), "Loop"),
    "scan": (lambda m: rename(m, "Scan"), "Scan"),
    "loop in a branch": (loop_in_a_branch, "Loop"),
    "functions": (function, "functions"),
    "training": (training, "training"),
    "branches without end": (deep, "nested"),
    "no nodes": (lambda m: m.graph.ClearField("node"), "no operators"),
    "no graph": (lambda m: m.ClearField("graph"), "no operators"),
}


def refuse(path: Path, words: str) -> None:
    with pytest.raises(Permanent, match=words) as caught:
        onnx_guard.check(path)
    assert caught.value.code == "conversion_failed"


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return path


def test_a_plain_model_passes(tmp_path: Path) -> None:
    onnx.checker.check_model(good())
    onnx_guard.check(written(tmp_path, good().SerializeToString()))


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_by_name(tmp_path: Path, name: str) -> None:
    change, words = HOSTILE[name]
    model = good()
    change(model)
    refuse(written(tmp_path, model.SerializeToString()), words)


def test_a_second_graph_is_merged_by_readers_and_refused_here(tmp_path: Path) -> None:
    refuse(written(tmp_path, good().SerializeToString() * 2), "twice")


def test_the_other_format_of_the_runtime_is_refused(tmp_path: Path) -> None:
    data = good().SerializeToString()
    refuse(written(tmp_path, data[:4] + b"ORTM" + data[8:]), "not an ONNX file")


@pytest.mark.parametrize(
    "data", [b"onnx", b"\x80\x02}q\x00.", b"PK\x03\x04", b"\xff" * 100, b"\x08" * 99, os.urandom(4096)]
)
def test_what_is_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    refuse(written(tmp_path, data), "not an ONNX file|no operators|no field")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = good().SerializeToString()
    for end in range(1, len(data) - len(good().opset_import[0].SerializeToString()) - 2):
        refuse(written(tmp_path, data[:end]), "")


def test_a_file_of_tiny_fields_is_not_read_to_its_end(tmp_path: Path) -> None:
    refuse(written(tmp_path, b"\x08\x08" * (onnx_guard.MAX_FIELDS + 10)), "fields")


def test_giant_weights_are_skipped_not_read(tmp_path: Path) -> None:
    """A sparse file of 1 GiB of weights: walking its fields touches none of its pages."""
    tensor = TensorProto(name="w", data_type=1, dims=[1 << 28])
    head = tensor.SerializeToString() + b"\x4a" + varint(1 << 30)
    nodes = graph_of([helper.make_node("Neg", ["x"], ["y"])]).SerializeToString()
    tensor_size = len(head) + (1 << 30)
    graph_size = len(nodes) + 1 + len(varint(tensor_size)) + tensor_size
    start = b"\x08\x08\x3a" + varint(graph_size) + nodes + b"\x2a" + varint(tensor_size) + head
    path = written(tmp_path, start)
    os.truncate(path, len(start) + (1 << 30))
    onnx_guard.check(path)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


@pytest.mark.parametrize("kind", ["model", "graph", "node", "attribute", "tensor"])
def test_the_tables_know_every_field_of_the_installed_onnx(kind: str) -> None:
    message = getattr(onnx, f"{kind.capitalize()}Proto")
    numbers = {field.number for field in message.DESCRIPTOR.fields}
    refused = {number for name, number in onnx_guard.REFUSED if name == kind}
    assert numbers == set(getattr(onnx_guard, kind.upper())) | refused
