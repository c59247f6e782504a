"""What a traced graph computes from the size of its input alone, computed once: masks, position tables, grids.

Converters of a fixed size need none of the operators that make them, and lack many of those.
"""

from collections.abc import Iterator
from typing import Any

import torch

ALWAYS = frozenset({"prim::Constant", "prim::GetAttr"})
BY_SIZE = frozenset(
    f"aten::{name}"
    for name in ("size", "dim", "numel", "new_ones", "new_zeros", "new_full", "new_empty", "ones_like", "zeros_like", "full_like")
)  # fmt: skip
"""Operators that look at the size and the type of their first input alone."""
VIEWS = frozenset(
    f"aten::{name}"
    for name in ("alias", "detach", "expand", "narrow", "permute", "reshape", "select", "slice", "squeeze", "t",
                 "transpose", "unsqueeze", "view", "flatten", "unflatten", "view_as", "expand_as", "to", "contiguous")
)  # fmt: skip
"""Operators whose result may share the memory of their first input."""
IMPURE = frozenset(
    {*(f"aten::{name}" for name in ("rand", "randn", "rand_like", "randn_like", "bernoulli", "dropout")),
     "prim::PythonOp", "prim::Print", "prim::RaiseException"}
)  # fmt: skip
LISTS = frozenset({"prim::ListConstruct", "prim::TupleConstruct", "prim::ListUnpack", "prim::TupleUnpack"})
LARGEST = 1 << 26
"""Elements of a constant that is still worth its bytes."""


def fold(traced: Any, example: torch.Tensor) -> int:
    """Replace, in place, every result that depends on the size of `example` but not on its values; how many there were."""
    graph = traced.forward.graph
    torch._C._jit_pass_inline(graph)
    torch._C._jit_pass_dce(graph)
    names = [value.debugName() for value in _frontier(graph)]
    if not names:
        return 0
    values = _evaluated(traced, graph, names, example)
    known = {value.debugName(): value for node in graph.nodes() for value in node.outputs()}
    first = next(graph.nodes())
    count = 0
    for name, value in zip(names, values, strict=True):
        if isinstance(value, torch.Tensor) and value.numel() > LARGEST:
            continue
        # an expanded tensor shares its elements with itself, a constant has to have each
        own = value.detach().clone().contiguous() if isinstance(value, torch.Tensor) else value
        graph.setInsertPoint(first)
        known[name].replaceAllUsesWith(graph.insertConstant(own))
        count += 1
    torch._C._jit_pass_dce(graph)
    return count


def _frontier(graph: Any) -> list[Any]:
    """Constant results of computations that something which is not constant uses."""
    fixed = _fixed(graph)
    found: dict[str, Any] = {}
    for user in [*graph.nodes(), graph.return_node()]:
        if (
            user.kind() in LISTS
            or not all(out.debugName() in fixed for out in user.outputs())
            or not list(user.outputs())
        ):
            for value in _single(user.inputs(), fixed):
                if value.node().kind() not in ALWAYS:
                    found[value.debugName()] = value
    return list(found.values())


def _single(values: Any, fixed: set[str]) -> Iterator[Any]:
    """Constant tensors and numbers among the values; lists stay what they are, of constants."""
    for value in values:
        if value.debugName() in fixed and value.type().kind() in {"TensorType", "IntType", "FloatType", "BoolType"}:
            yield value


def _fixed(graph: Any) -> set[str]:
    """Names of all results that depend on no value of the input."""
    nodes = list(graph.nodes())
    barred: set[str] = set()
    while True:
        fixed = {next(graph.inputs()).debugName()}
        for node in nodes:
            outputs = {value.debugName() for value in node.outputs()}
            if _plain(node) and not barred & outputs and fixed.issuperset(_needed(node)):
                fixed |= outputs
        changed = _unsafe(nodes, fixed) - barred
        if not changed:
            return fixed
        barred |= changed


def _plain(node: Any) -> bool:
    """Whether the operator gives the same whenever it is given the same."""
    kind = node.kind()
    return kind.startswith(("aten::", "prim::")) and kind not in IMPURE and not list(node.blocks())


def _needed(node: Any) -> list[str]:
    given = [value.debugName() for value in node.inputs()]
    return given[1:] if node.kind() in BY_SIZE else given


def _in_place(kind: str) -> bool:
    return kind.startswith("aten::__i") or (
        kind.startswith("aten::") and kind.endswith("_") and not kind.endswith("__")
    )


def _unsafe(nodes: list[Any], fixed: set[str]) -> set[str]:
    """Fixed results whose memory something that is not fixed changes, or reads before its last change.

    Constants are read from the end of a run: only what is never changed again is the same then.
    """
    roots: dict[str, str] = {}
    last: dict[str, int] = {}
    bad: set[str] = set()
    for index, node in enumerate(nodes):
        changes = _in_place(node.kind())
        if not changes and node.kind() not in VIEWS:
            continue
        given = next(node.inputs()).debugName()
        root = roots.get(given, given)
        roots.update((value.debugName(), root) for value in node.outputs())
        if changes:
            last[root] = index
            bad.update([] if fixed.issuperset(_needed(node)) else [root])
    for index, node in enumerate(nodes):
        if any(value.debugName() not in fixed for value in node.outputs()):
            read = {roots.get(value.debugName(), value.debugName()) for value in node.inputs()}
            bad.update(root for root in read if index < last.get(root, -1))
    return {name for name in fixed if roots.get(name, name) in bad}


def _evaluated(traced: Any, graph: Any, names: list[str], example: torch.Tensor) -> tuple[Any, ...]:
    """The values of these results for this example."""
    copy = graph.copy()
    # a copy numbers its results anew
    pairs = zip(graph.nodes(), copy.nodes(), strict=True)
    twins = {
        own.debugName(): twin
        for node, other in pairs
        for own, twin in zip(node.outputs(), other.outputs(), strict=True)
    }
    wanted = [twins[name] for name in names]
    for _ in list(copy.outputs()):
        copy.eraseOutput(0)
    together = copy.create("prim::TupleConstruct", wanted, 1)
    together.output().setType(torch._C.TupleType([value.type() for value in wanted]))
    copy.appendNode(together)
    copy.registerOutput(together.output())
    torch._C._jit_pass_dce(copy)
    with torch.no_grad():
        values: tuple[Any, ...] = torch._C._create_function_from_graph("constants", copy)(traced._c, example)
    return values
