"""Operators and parameters, counted in files whose contents are known."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from openvino import opset13 as ops

from contracts.vocabulary import ExportFormat
from export_worker import registry
from export_worker.graphs import coreml, torchscript
from export_worker.graphs import onnx as onnx_graph
from export_worker.graphs import openvino as openvino_graph


def test_an_onnx_model_is_counted_with_what_is_inside_it(tmp_path: Path):
    """Two Adds, one of them in a branch, one in a function; an initializer, a Constant, one in a branch."""
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "inner"], ["y"])],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.zeros(3, np.float32), "inner")],
    )
    nodes = [
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.zeros((2, 3), np.float32))),
        helper.make_node("Constant", [], ["condition"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])),
        helper.make_node("Constant", [], ["axes"], value_ints=[0, 1]),
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Twice", ["z"], ["w"], domain="ours"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.zeros((5, 7), np.int8), "weights")],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ours", 1)]
    function = helper.make_function(
        "ours", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], imports[:1]
    )
    onnx.save(helper.make_model(graph, opset_imports=imports, functions=[function]), tmp_path / "model.onnx")
    found = onnx_graph.summarise(tmp_path / "model.onnx")
    assert found.operators == {"Add": 3, "If": 1, "Mul": 1, "ours::Twice": 1}
    assert found.parameters == 5 * 7 + 6 + 1 + 2 + 3 + 3


def test_a_torchscript_program_is_counted_with_what_it_calls(tmp_path: Path):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)
    )
    torch.jit.save(torch.jit.trace(model.eval(), torch.zeros(1, 3, 8, 8)), str(tmp_path / "model.torchscript"))
    found = torchscript.summarise(tmp_path / "model.torchscript")
    assert found.operators["aten::_convolution"] == 2
    assert (found.operators["aten::batch_norm"], found.operators["aten::relu"]) == (1, 1)
    assert "prim::Constant" not in found.operators
    state = model.state_dict()
    assert found.parameters == sum(tensor.numel() for tensor in state.values())


def test_an_openvino_model_is_counted_as_its_own_reader_counts(tmp_path: Path):
    given = ops.parameter([1, 3, 4, 4], np.float32)
    kernel = ops.constant(np.zeros((2, 3, 1, 1), np.float32))
    made = ops.relu(ops.convolution(given, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))
    model = openvino.Model([ops.result(ops.add(made, ops.constant(np.float32(1))))], [given])
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(tmp_path / "model.xml", "model.xml")
    found = openvino_graph.summarise(tmp_path / "model.zip")
    assert found.operators == {"Add": 1, "Convolution": 1, "ReLU": 1}
    assert found.parameters == 6 + 1


def test_a_core_ml_program_is_counted_with_its_inner_blocks(tmp_path: Path):
    model = coreml.ct.proto.Model_pb2.Model()
    block = model.mlProgram.functions["main"].block_specializations["CoreML8"]

    def operation(into: object, kind: str) -> object:
        made = into.operations.add()
        made.type = kind
        return made

    weights = operation(block, "const").attributes["val"].type.tensorType
    for side in (4, 5):
        weights.dimensions.add().constant.size = side
    operation(block, "const").attributes["name"].type.tensorType.dimensions.add().constant.size = 1000
    operation(block, "conv")
    operation(operation(block, "cond").blocks.add(), "relu")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr(coreml.PROGRAM, model.SerializeToString())
    found = coreml.summarise(tmp_path / "model.zip")
    assert found.operators == {"cond": 1, "conv": 1, "relu": 1}
    assert found.parameters == 20


@pytest.mark.parametrize("export_format", ExportFormat)
def test_every_format_but_tensorrt_can_be_counted(export_format: ExportFormat):
    assert (export_format in registry.GRAPHS) is (export_format is not ExportFormat.TENSORRT)
