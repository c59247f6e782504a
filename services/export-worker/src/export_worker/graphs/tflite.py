"""Counts of a LiteRT model: operators of all its subgraphs, read from the flatbuffer."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from contracts.model_package import GraphSummary

NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def summarise(path: Path) -> GraphSummary:
    """Operators as `CONV_2D`; those that are not built in by their own name."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    names = [_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    operators: Counter[str] = Counter()
    constants: dict[int, int] = {}
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        operators.update(names[graph.Operators(index).OpcodeIndex()] for index in range(graph.OperatorsLength()))
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            if _is_constant(model.Buffers(tensor.Buffer())):
                shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
                constants[tensor.Buffer()] = prod(shape)
    return GraphSummary(operators=dict(sorted(operators.items())), parameters=sum(constants.values()))


def _name(code: Any) -> str:
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if builtin == schema.BuiltinOperator.CUSTOM:
        return (code.CustomCode() or b"").decode(errors="replace")
    return NAMES[builtin]


def _is_constant(buffer: Any) -> bool:
    """Weights lie in the buffer, or behind the flatbuffer where it says an offset; tensors that are computed have an empty one."""
    return bool(buffer.DataLength() > 0 or buffer.Offset() > 1)
