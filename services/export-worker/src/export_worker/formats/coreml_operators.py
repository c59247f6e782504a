"""Which operators of a traced graph Core ML's converter lacks: told before anything is converted."""

from typing import Any

from export_worker.runtimes.coreml.toolchain import imported

REGISTRY: Any = imported("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
plain_name: Any = imported("coremltools.converters.mil.frontend.torch.utils").sanitize_op_kind
WRITTEN_OUT = frozenset({"aten::chunk"})
"""Operators that coremltools writes in other words before it looks for their converters."""


def unsupported_ops(graph: Any) -> list[str]:
    """Names such as "aten::unfold", sorted, of what coremltools has no converter for in a traced, folded graph (`traced.forward.graph`)."""
    return sorted({kind for kind in _kinds(graph) if not _known(kind)})


def _kinds(block: Any) -> set[str]:
    found: set[str] = set()
    for node in block.nodes():
        found.add(node.kind())
        for inner in node.blocks():
            found |= _kinds(inner)
    return found


def _known(kind: str) -> bool:
    if kind.startswith("prim::"):
        return kind != "prim::PythonOp"
    return kind in WRITTEN_OUT or REGISTRY.get_func(plain_name(kind)) is not None
