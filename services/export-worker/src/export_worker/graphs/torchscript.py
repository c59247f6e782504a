"""Counts of a TorchScript program: nodes of `forward` with everything that it calls, inner blocks included."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch

from contracts.model_package import GraphSummary

PLUMBING = frozenset({"prim::Constant", "prim::GetAttr"})
"""Nodes that fetch what others compute with."""


def summarise(path: Path) -> GraphSummary:
    """Operators as `aten::_convolution`, `prim::TupleConstruct`."""
    module: Any = torch.jit.load(str(path), map_location="cpu")
    operators: Counter[str] = Counter()
    parameters = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    parameters += _count(module.inlined_graph, operators)
    return GraphSummary(operators=dict(sorted(operators.items())), parameters=parameters)


def _count(block: Any, operators: Counter[str]) -> int:
    """Numbers in the tensors that stand in the graph itself."""
    parameters = 0
    for node in block.nodes():
        kind = node.kind()
        if kind not in PLUMBING:
            operators[kind] += 1
        elif node.hasAttribute("value") and node.kindOf("value") == "t":
            parameters += node.t("value").numel()
        parameters += sum(_count(inner, operators) for inner in node.blocks())
    return parameters
