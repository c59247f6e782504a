"""Counts of an ONNX model: nodes of the graph, of what is inside If and Loop, and of its functions."""

from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import onnx

from contracts.model_package import GraphSummary

CONSTANT = "Constant"
_LISTS = ("floats", "ints", "strings")


def summarise(path: Path) -> GraphSummary:
    """Operators as `Conv` or, outside ONNX's own domain, `com.microsoft::Gelu`."""
    model = onnx.load(str(path), load_external_data=False)
    operators: Counter[str] = Counter()
    parameters = _count(model.graph.node, operators) + _initialised(model.graph)
    for function in model.functions:
        parameters += _count(function.node, operators)
    return GraphSummary(operators=dict(sorted(operators.items())), parameters=parameters)


def _count(nodes: Iterable[Any], operators: Counter[str]) -> int:
    """Numbers in the constants of these nodes and of the graphs inside them."""
    parameters = 0
    for node in nodes:
        if node.op_type == CONSTANT:
            parameters += sum(map(_numbers, node.attribute))
            continue
        operators[f"{node.domain}::{node.op_type}" if node.domain else node.op_type] += 1
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                parameters += _count(graph.node, operators) + _initialised(graph)
    return parameters


def _initialised(graph: Any) -> int:
    sparse = sum(prod(each.values.dims) for each in graph.sparse_initializer)
    return int(sparse + sum(prod(each.dims) for each in graph.initializer))


def _numbers(attribute: Any) -> int:
    if attribute.HasField("t"):
        return int(prod(attribute.t.dims))
    return max(len(getattr(attribute, name)) for name in _LISTS) or 1
