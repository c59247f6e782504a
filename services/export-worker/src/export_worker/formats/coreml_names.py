"""Names for the results of an ML program that lead back to the torch modules that made them."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

SCOPE = "TORCHSCRIPT_MODULE_NAME"
MARK = "__"


def encoded(path: str) -> str:
    """A module's path as it may stand in a name of an ML program: letters, digits and underscores."""
    return "m_" + path.replace(".", "_")


def module_of(name: str, modules: Mapping[str, str]) -> str:
    """The module whose result has this name, or ""; `modules` maps encoded paths to paths."""
    return modules.get(name.rpartition(MARK)[0], "")


def names(operations: Collection[Any], modules: Collection[str], kept: Collection[str]) -> dict[str, str]:
    """Old -> new name of every result that a module of the converted graph made; `kept` stay as they are.

    `operations` are those of coremltools' program in memory, which alone knows the scopes.
    """
    renamed: dict[str, str] = {}
    count: Counter[str] = Counter()
    places: dict[tuple[str, ...], str] = {}
    for operation in operations:
        scope = next((value for key, value in operation.scopes.items() if key.name == SCOPE), None)
        if operation.op_type == "const" or not scope:
            continue
        # the last entry is the name of the result, the first that of the graph in its wrapper
        parts = tuple(str(part) for part in scope[1:-1])
        if parts not in places:
            places[parts] = _place(parts, modules)
        for variable in operation.outputs:
            if variable.name not in kept and places[parts]:
                base = f"{encoded(places[parts])}{MARK}{operation.op_type}"
                count[base] += 1
                renamed[variable.name] = f"{base}_{count[base]}"
    return renamed


def _place(parts: tuple[str, ...], modules: Collection[str]) -> str:
    """The one module whose path ends as the calls did: a container that is never called itself is not among them."""
    if not parts:
        return ""
    exact = ".".join(parts)
    if exact in modules:
        return exact
    found = [path for path in modules if path.endswith(parts[-1]) and _within(parts, path.split("."))]
    # the fewer containers are left out, the likelier
    nearest = [path for path in found if path.count(".") == min(one.count(".") for one in found)]
    return nearest[0] if len(nearest) == 1 else ""


def _within(parts: tuple[str, ...], path: list[str]) -> bool:
    """Whether the calls are named in this order in the path, the last of them last."""
    at, joined = 0, ".".join(parts).split(".")
    for part in path:
        at += at < len(joined) and part == joined[at]
    return at == len(joined) and path[-1] == joined[-1]


def rename(specification: Any, renamed: Mapping[str, str]) -> None:
    """Give the results of the program's main function their new names, in place."""
    for function in specification.mlProgram.functions.values():
        for block in function.block_specializations.values():
            _rename_block(block, renamed)


def _rename_block(block: Any, renamed: Mapping[str, str]) -> None:
    for operation in block.operations:
        for given in operation.inputs.values():
            for argument in given.arguments:
                if argument.WhichOneof("binding") == "name":
                    argument.name = renamed.get(argument.name, argument.name)
        for result in operation.outputs:
            result.name = renamed.get(result.name, result.name)
        for inner in operation.blocks:
            _rename_block(inner, renamed)
    for index, name in enumerate(block.outputs):
        block.outputs[index] = renamed.get(name, name)
