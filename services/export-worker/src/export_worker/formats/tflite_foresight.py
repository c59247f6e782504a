"""Which operators of a model LiteRT's converter lacks, told without it: by torch's own trace and a list of the operators that it has.

litert_operators.txt holds the names that the pinned release lowers or takes apart; a test holds it to that release.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.export.graph_signature import InputKind

from contracts.errors import Permanent
from export_worker.frameworks.checkpoints import error_line

ENDLESS = frozenset({"cond", "while_loop", "scan", "map_impl"})
"""Higher-order operators: graphs within graphs."""
IGNORED = ("aten.sym_", "aten._assert")


class Lacking(NamedTuple):
    """An operator that cannot be converted, and the module that runs it first."""

    operator: str
    module: str


class OperatorMissing(Permanent):
    """A model that needs an operator which LiteRT or its converter lacks."""

    def __init__(self, operator: str, module: str, cause: str) -> None:
        where = f" in {module}" if module else ""
        super().__init__(
            "unsupported_operator",
            f"LiteRT has no {operator}, which this model uses{where}: {cause}",
            hint="Choose another format, such as onnx.",
        )
        self.operator = f"{operator} ({module})" if module else operator


@cache
def known() -> frozenset[str]:
    """Operators as "aten.add", without their overloads."""
    return frozenset(Path(__file__).with_name("litert_operators.txt").read_text().split())


def lacking(graph: torch.nn.Module, example: torch.Tensor) -> tuple[Lacking, ...]:
    """Every operator that will fail, in the order of execution; what depends on no input is folded and cannot.

    Raises Permanent("conversion_failed") where torch.export cannot trace the model, which the converter would do as well.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (example,), strict=False)
    except Exception as error:  # the tracer raises whatever the model's code stumbles over
        raise Permanent("conversion_failed", f"torch.export: {error_line(error)}") from error
    found: dict[str, str] = {}
    for node in _fed(program):
        if operator := _missing(node):
            found.setdefault(operator, module_of(node))
    return tuple(Lacking(operator, module) for operator, module in found.items())


def _fed(program: torch.export.ExportedProgram) -> Iterator[torch.fx.Node]:
    """Calls that depend on the model's input."""
    specs = program.graph_signature.input_specs
    given = {spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT}
    fed: set[torch.fx.Node] = set()
    for node in program.graph.nodes:
        if (node.op == "placeholder" and node.name in given) or fed.intersection(node.all_input_nodes):
            fed.add(node)
            if node.op == "call_function":
                yield node


def _missing(node: torch.fx.Node) -> str:
    """The operator's name if it cannot be converted, or ""."""
    operator: Any = node.target
    if isinstance(operator, torch._ops.HigherOrderOperator):
        return operator.name() if operator.name() in ENDLESS else ""
    if not isinstance(operator, torch._ops.OpOverload):
        return ""
    name = str(operator.overloadpacket)
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and any(_depends_on_data(size) for size in value.shape):
        return f"{name} with a size that depends on the picture"
    plain = name.removesuffix("_")
    if name.startswith(IGNORED) or {name, plain} & known() or operator._can_decompose():
        return ""
    return name


def _depends_on_data(size: object) -> bool:
    return isinstance(size, torch.SymInt)


def module_of(node: torch.fx.Node) -> str:
    """The path of the module that ran a node; torch.export tells some paths from the root and some from an outer module."""
    told, whole = "", ""
    for path, _ in (node.meta.get("nn_module_stack") or {}).values():
        if told and path.startswith(f"{told}."):
            whole += path.removeprefix(told)
        elif path:
            whole = f"{whole}.{path}".removeprefix(".")
        told = path
    return whole
