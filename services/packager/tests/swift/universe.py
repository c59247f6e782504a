"""What a set of Swift files declares: types with their members, and functions with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .syntax import Node


class Function:
    """A function, initialiser or subscript: who may call it, with which labels, and whether it throws."""

    def __init__(self, node: Node, module: str, path: str, owner: Type | None) -> None:
        self.node, self.module, self.path, self.owner = node, module, path, owner
        self.name, self.parameters, self.throws = node.name, node.parameters, node.throws
        self.is_static = "static" in node.modifiers
        self.result, self.generics = node.result, node.generics
        self.access = access(node.modifiers, owner)
        labels = "_".join(one.label or "0" for one in node.parameters)
        self.mangled = f"{self.name}__{len(node.parameters)}_{labels}"

    def match(self, labels: list[str | None], trailing: bool) -> list[Node] | None:
        """The parameter of each argument; None where the labels are not this function's."""
        found, rest = [], list(self.parameters)
        for number, label in enumerate(labels):
            is_trailing = trailing and number == len(labels) - 1
            while rest and rest[0].label != label and not is_trailing and rest[0].default is not None:
                rest.pop(0)
            if not rest or (rest[0].label != label and not is_trailing):
                return None
            found.append(rest.pop(0))
        return found if all(one.default is not None for one in rest) else None


class Type:
    """A struct, enum, class or protocol with what all its extensions add."""

    def __init__(self, name: str, word: str, module: str, outer: Type | None) -> None:
        self.name, self.word, self.module, self.outer = name, word, module, outer
        self.inherits: list[str] = []
        self.fields: dict[str, Node] = {}
        self.statics: dict[str, Node] = {}
        self.computed: dict[str, Node] = {}
        self.functions: dict[str, list[Function]] = {}
        self.inits: list[Function] = []
        self.cases: dict[str, tuple[list[Any], Any]] = {}
        self.nested: set[str] = set()
        self.has_own_init = False

    def instance(self, name: str) -> bool:
        return name in self.fields or name in self.computed

    def chain(self) -> Iterable[Type]:
        """The type and those around it."""
        one: Type | None = self
        while one is not None:
            yield one
            one = one.outer


def access(modifiers: set[str], owner: Type | None) -> str:
    if "public" in modifiers or (owner is not None and owner.word == "protocol"):
        return "public"
    return "private" if "private" in modifiers else "internal"


def inferred(value: Node) -> Any:
    """The type of a property that begins with a literal or a new value."""
    if value.kind == "number":
        return ("named", "Double" if "." in value.text else "Int")
    if value.kind in ("true", "false"):
        return ("named", "Bool")
    if value.kind == "call" and value.base.kind == "name":
        return ("named", value.base.name)
    return None


class Universe:
    """All declarations; `files` are the programs by module and path."""

    def __init__(self, files: Mapping[tuple[str, str], list[Node]]) -> None:
        self.types: dict[str, Type] = {}
        self.globals: dict[str, list[Function]] = {}
        self.problems: list[str] = []
        self.cases: dict[str, list[Type]] = {}
        self.functions: dict[str, list[Function]] = {}
        self.properties: dict[str, list[Type]] = {}
        for only_types in (True, False):
            for (module, path), program in files.items():
                for node in program:
                    self._declare(node, module, path, None, only_types)
        for one in self.types.values():
            self._finish(one)

    def _declare(self, node: Node, module: str, path: str, owner: Type | None, only_types: bool) -> None:
        node.path, node.module = path, module
        if node.kind == "type":
            self._type(node, module, path, owner, only_types)
        elif only_types:
            return
        elif node.kind == "func" and owner is None:
            self.globals.setdefault(node.name, []).append(Function(node, module, path, None))
        elif owner is not None:
            self._member(node, module, path, owner)

    def _type(self, node: Node, module: str, path: str, outer: Type | None, only_types: bool) -> None:
        if only_types and node.word != "extension":
            if node.name in self.types:
                self.problems.append(f"{path}:{node.line}: {node.name} is declared twice")
            self.types[node.name] = Type(node.name, node.word, module, outer)
            if outer is not None:
                outer.nested.add(node.name)
        kind = self.types.get(node.name)
        if kind is None and not only_types:
            kind = self.types.setdefault(node.name, Type(node.name, "external", module, None))
        for member in node.members:
            self._declare(member, module, path, kind, only_types)
        if kind is not None and not only_types:
            kind.inherits += node.inherits
            kind.has_own_init |= node.word != "extension" and any(one.kind == "init" for one in node.members)

    def _member(self, node: Node, module: str, path: str, owner: Type) -> None:
        if node.kind == "func":
            owner.functions.setdefault(node.name, []).append(Function(node, module, path, owner))
        elif node.kind == "init":
            owner.inits.append(Function(node, module, path, owner))
        elif node.kind == "cases":
            for name, payload, raw in node.cases:
                owner.cases[name] = (payload, raw)
        elif node.kind == "variable":
            table = owner.computed if node.body else owner.statics if "static" in node.modifiers else owner.fields
            if node.pattern in {**owner.computed, **owner.statics, **owner.fields}:
                self.problems.append(f"{path}:{node.line}: {node.pattern} is declared twice")
            table[node.pattern] = node
            node.type = node.type or inferred(node.value)
            node.access = access(node.modifiers, owner)

    def _finish(self, one: Type) -> None:
        if one.word == "struct" and not one.has_own_init:
            one.inits.append(_memberwise(one))
        for name in one.cases:
            self.cases.setdefault(name, []).append(one)
        for name, functions in one.functions.items():
            self.functions.setdefault(name, []).extend(functions)
        for name in {**one.fields, **one.computed}:
            self.properties.setdefault(name, []).append(one)


def _memberwise(one: Type) -> Function:
    parameters = []
    for name, field in one.fields.items():
        if field.word == "let" and field.value is not None:
            continue
        default = field.value
        if default is None and field.word == "var" and field.type and field.type[0] == "optional":
            default = Node("nil", field.line)
        parameters.append(
            Node("parameter", field.line, label=name, name=name, type=field.type, default=default, is_inout=False)
        )
    node = Node("init", 0, name="init", parameters=parameters, throws=False, result=None, generics=[], body=None)
    node.modifiers = set()
    is_private = any("private" in field.modifiers for field in one.fields.values())
    if is_private:
        node.modifiers = {"private"}
    path = next(iter(one.fields.values())).path if one.fields else ""
    return Function(node, one.module, path, one)
