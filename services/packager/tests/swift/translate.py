"""Whole Swift programs to Python: types, functions and statements, with what a compiler would refuse of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .scopes import Scope, ends
from .statements import Statements
from .syntax import Node, read
from .universe import Function, Type, Universe


class Program(Statements):
    """`python` is the program, `problems` what is wrong with it."""

    def __init__(self, files: Mapping[tuple[str, str], list[Node]]) -> None:
        super().__init__(Universe(files))
        for one in self.universe.types.values():
            if one.word != "external":
                self.type(one)
        for functions in self.universe.globals.values():
            for function in functions:
                self.function(function)
        for (module, path), program in files.items():
            self.main(module, path, [node for node in program if node.kind not in ("type", "func", "import")])
        self.python = "\n".join(self.lines)

    def main(self, module: str, path: str, statements: list[Node]) -> None:
        """What a file does by itself: checked, not kept."""
        self.module, self.path, self.called = module, path, []
        kept, self.lines = self.lines, []
        self.scope = Scope(None, is_static=True)
        if module != "manifest":
            self.body(statements)
        self.lines = kept

    def type(self, one: Type) -> None:
        parent = "Case" if one.word == "enum" else "Own"
        self.emit(f"class T_{one.name}({parent}): pass")
        self.emit(f"T_{one.name}.name = {one.name!r}")
        for name, field in one.statics.items():
            self.lazy(one, name, field)
        for name, (payload, raw) in one.cases.items():
            self.scope, self.module = Scope(one, is_static=True), one.module
            text = self.expr(raw) if raw is not None else repr(name)
            raws = text if not payload and "String" in one.inherits else "None"
            self.emit(f"T_{one.name}.add_case({name!r}, {len(payload)}, {raws})")
        for name, field in one.computed.items():
            self.getter(one, name, field)
        for functions in one.functions.values():
            for function in functions:
                if function.node.body is not None:
                    self.function(function)
        for function in one.inits:
            self.init(one, function)

    def lazy(self, one: Type, name: str, field: Node) -> None:
        self.module, self.path, self.called = field.module, field.path, []
        self.scope = Scope(one, is_static=True)
        self.emit("@cache")
        self.emit(f"def static_{name}():")
        self.depth += 1
        self.emit(f"return typed({self.expr(field.value, field.type)}, {field.type!r})")
        self.depth -= 1
        self.emit(f"T_{one.name}.s_{name} = static_{name}")

    def getter(self, one: Type, name: str, field: Node) -> None:
        self.module, self.path, self.called = field.module, field.path, []
        self.scope = Scope(one, is_static="static" in field.modifiers)
        self.emit("def getter(self):")
        self.bodied(field.body, field.type)
        if not ends(field.body) and not (len(field.body) == 1 and field.body[0].kind == "do_expression"):
            self.say(field, f"missing return in {name}")
        self.emit(f"T_{one.name}.f_{name} = property(getter)")

    def bodied(self, body: list[Node], result: Any) -> None:
        self.result = result
        self.depth += 1
        before = len(self.lines)
        if len(body) == 1 and body[0].kind == "do_expression" and result is not None:
            value = self.expr(body[0].value, result)
            self.emit(f"return typed({value}, {result!r})")
        else:
            self.body(body)
        if len(self.lines) == before:
            self.emit("pass")
        self.depth -= 1
        self.unused()

    def unused(self) -> None:
        for local in self.scope.all:
            place = Node("local", local.line)
            if local.word in ("let", "var", "bind") and not local.uses and local.name != "_":
                self.say(place, f"{local.name} is never used")
            if local.word == "var" and not local.writes:
                self.say(place, f"variable {local.name} is never changed")
            if local.word not in ("var", "inout", "unset") and local.writes:
                self.say(place, f"{local.name} is a constant")

    def enter(self, function: Function) -> list[str]:
        node = function.node
        self.module, self.path, self.called = function.module, function.path, []
        self.scope = Scope(function.owner, is_static=function.owner is None or function.is_static)
        self.scope.function, self.scope.generics = function, node.generics
        names = []
        for one in node.parameters:
            local = self.scope.declare(one.name, f"p_{one.name}", one.line, "inout" if one.is_inout else "parameter")
            default = "=Default" if one.default is not None else ""
            names.append(local.python + default)
        return names

    def prologue(self, function: Function) -> None:
        self.depth += 1
        for one in function.parameters:
            if one.default is not None:
                self.emit(f"if p_{one.name} is Default: p_{one.name} = {self.expr(one.default, one.type)}")
            if one.type and not one.is_inout and one.type[0] != "function":
                self.emit(f"p_{one.name} = typed(p_{one.name}, {one.type!r}, {function.generics!r})")
        self.depth -= 1

    def function(self, function: Function) -> None:
        node, names = function.node, self.enter(function)
        is_own = function.owner is not None and not function.is_static
        arguments = (["self"] if is_own else []) + ["*"] * bool(names) + names + ["generic=None"]
        if not names:
            arguments = [*(["self"] if is_own else []), "generic=None"]
        self.emit(f"def method({', '.join(arguments)}):")
        self.prologue(function)
        self.bodied(node.body, node.result)
        single = len(node.body) == 1 and node.body[0].kind == "do_expression"
        if node.result is not None and not single and not ends(node.body):
            self.say(node, f"missing return in {node.name}")
        if self.scope.leaks and not node.throws:
            self.say(node, f"errors thrown from {node.name} are not handled")
        target = f"T_{function.owner.name}" if function.owner else "G"
        wrap = "staticmethod(method)" if not is_own else "method"
        self.emit(f"{target}.{function.mangled} = {wrap}")

    def init(self, one: Type, function: Function) -> None:
        names = self.enter(function)
        self.scope.is_static, self.scope.in_init = False, True
        self.emit(f"def method({', '.join(['*'] * bool(names) + names)}):")
        self.emit(f"    self = T_{one.name}.__new__(T_{one.name})")
        for name, field in one.fields.items():
            if field.value is not None or (field.type and field.type[0] == "optional"):
                text = self.expr(field.value, field.type) if field.value is not None else "None"
                self.emit(f"    self.f_{name} = typed({text}, {field.type!r})")
        self.prologue(function)
        if function.node.body is None:
            for parameter in function.parameters:
                self.emit(f"    self.f_{parameter.name} = p_{parameter.name}")
        else:
            self.bodied(function.node.body, None)
            self.complete(one, function)
        self.emit("    return self")
        self.emit(f"T_{one.name}.{function.mangled} = staticmethod(method)")

    def complete(self, one: Type, function: Function) -> None:
        """Every property has a value when an initialiser ends."""
        if self.scope.leaks and not function.throws:
            self.say(function.node, "errors thrown from init are not handled")
        text = "\n".join(self.lines[-400:])
        text = text[text.rfind("def method(") :]
        if "become(self" in text or "self.__dict__ =" in text or one.word == "external":
            return
        for name in one.fields:
            if f"self.f_{name} =" not in text:
                self.say(function.node, f"init does not give {name} a value")

    def body(self, nodes: list[Node]) -> None:
        self.scope.blocks.append({})
        for number, node in enumerate(nodes):
            getattr(self, f"s_{node.kind}")(node)
            if ends([node]) and number + 1 < len(nodes):
                self.say(nodes[number + 1], "will never be executed")
        self.scope.blocks.pop()

    def nested(self, nodes: list[Node]) -> None:
        self.depth += 1
        before = len(self.lines)
        self.body(nodes)
        if len(self.lines) == before:
            self.emit("pass")
        self.depth -= 1


def translate(sources: Mapping[tuple[str, str], str], modules: frozenset[str] = frozenset()) -> Program:
    """The program of sources by module and path; SwiftError for what is not of the Swift that is known here."""
    return Program({place: read(source, modules) for place, source in sources.items()})
