"""Computes, once and in torch, what a traced program computes anew at every run although no input has a part in it.

Besides the time, it takes float64 arithmetic out of graphs whose target has none: position embeddings are computed so, from constants.
"""

import torch
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.fx import Node

MAX_BYTES = 16 << 20
"""A folded tensor is stored in the artefact; a larger one is cheaper to compute than to keep."""
VIEWS = frozenset(
    {"aten.view", "aten.permute", "aten.t", "aten.transpose", "aten.expand", "aten.reshape", "aten.clone"}
)
"""Of a parameter alone: converters look for these around convolutions and products, and fold them themselves."""


def fold_constants(program: torch.export.ExportedProgram) -> None:
    """Replace, in place, what depends on no input by constants.

    `program` must be functional (its decompositions run), and must be traced again before it is executed.
    """
    values = _known(program)
    parameters = set(values)
    for node in list(program.graph.nodes):
        if node.op != "call_function" or not _foldable(node, values):
            continue
        result = _compute(node, values)
        if result is None:
            continue
        values[node] = result
    kept = [node for node, value in values.items() if node not in parameters and _frontier(node, value, values)]
    for number, node in enumerate(kept):
        if _is_view(node, parameters) or values[node].nbytes > MAX_BYTES:
            continue
        _replace(program, node, values[node], f"folded_{number}")
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()


def without_float64(program: torch.export.ExportedProgram) -> bool:
    """Compute in float32, in place, what is left of float64 arithmetic; says whether there was any.

    `program` must be traced again before it is executed.
    """
    found = False
    for table in (program.constants, program.state_dict):
        for name, value in table.items():
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                table[name] = value.float()
                found = True
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
            continue
        found = True
        if node.op == "placeholder":
            node.meta["val"] = value.float()
        elif node.op == "call_function":
            node.args = tuple(_narrowed(given) for given in node.args)
            node.kwargs = {name: _narrowed(given) for name, given in node.kwargs.items()}
    return found


def _narrowed(given: object) -> object:
    return torch.float32 if given == torch.float64 else given


def _known(program: torch.export.ExportedProgram) -> dict[Node, torch.Tensor]:
    """The inputs of the graph that are no inputs of the model."""
    tensors = {**program.state_dict, **program.constants}
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    signature = program.graph_signature
    written = set(signature.buffers_to_mutate.values())
    found = {}
    for spec in signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT and spec.target not in written and spec.target in tensors:
            found[places[spec.arg.name]] = tensors[spec.target].detach()
    return found


def _foldable(node: Node, values: dict[Node, torch.Tensor]) -> bool:
    operator = node.target
    pure = not isinstance(operator, torch._ops.OpOverload) or (
        not operator._schema.is_mutable and torch.Tag.nondeterministic_seeded not in operator.tags
    )
    return pure and all(given in values for given in node.all_input_nodes)


def _compute(node: Node, values: dict[Node, torch.Tensor]) -> torch.Tensor | None:
    """None where the program's own shapes are needed, which are no tensors."""
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda given: values[given])
    try:
        return node.target(*args, **kwargs)
    except (
        TypeError,
        RuntimeError,
    ):  # of which NotImplementedError, what torch raises for an operator without a kernel, is one
        return None


def _frontier(node: Node, value: object, values: dict[Node, torch.Tensor]) -> bool:
    return isinstance(value, torch.Tensor) and any(user not in values for user in node.users)


def _is_view(node: Node, parameters: set[Node]) -> bool:
    """Whether nothing was computed on the way from a parameter, but its shape."""
    while node not in parameters:
        if str(node.target).removesuffix(".default").removesuffix(".int") not in VIEWS or not node.all_input_nodes:
            return False
        node = node.all_input_nodes[0]
    return True


def _replace(program: torch.export.ExportedProgram, node: Node, value: torch.Tensor, name: str) -> None:
    graph, signature = program.graph, program.graph_signature
    first = next(each for each in graph.nodes if each.op == "placeholder")
    with graph.inserting_before(first):
        place = graph.placeholder(name)
    place.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(place)
    program.constants[name] = value.contiguous().clone()
    spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(place.name), name)
    signature.input_specs.insert(0, spec)
