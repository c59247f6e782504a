"""Statements of Swift to Python's."""

from __future__ import annotations

from typing import Any

from .calls import Calls
from .known import INHERITED, MEMBERS
from .scopes import ends
from .syntax import Node

COMPOUND = {"+=": "add", "-=": "sub", "*=": "mul", "/=": "div", "^=": "bxor", "|=": "bor", "&=": "band"}


class Statements(Calls):
    """What a body is made of."""

    result: Any = None

    def s_type(self, node: Node) -> None:
        self.say(node, "a type within a function is not of the Swift that is known here")

    def s_variable(self, node: Node) -> None:
        if node.value is None:
            local = self.scope.declare(node.pattern, self.fresh(node.pattern), node.line, node.word)
            local.word = "unset" if node.word == "let" else "var"
            self.emit(f"{local.python} = None")
            return
        value = self.expr(node.value, node.type)
        value = f"typed({value}, {node.type!r})" if node.type else f"settled({value})"
        if node.word == "var":
            value = f"copied({value})"
        self.emit(f"{self.target(node.pattern, node.line, node.word)} = {value}")

    def target(self, pattern: Any, line: int, word: str) -> str:
        if isinstance(pattern, tuple):
            return "(" + ", ".join(self.target(one, line, word) for one in pattern) + ",)"
        if pattern == "_":
            return "_"
        return self.scope.declare(pattern, self.fresh(pattern), line, word).python

    def s_assign(self, node: Node) -> None:
        target, kind = self.place(node.target)
        value = self.expr(node.value, kind)
        if node.op != "=":
            value = f"op_{COMPOUND[node.op]}({self.expr(node.target)}, {value})"
        elif node.value.kind == "number":
            value = f"like({target}, {value})"
        elif kind is not None:
            value = f"typed({value}, {kind!r})"
        self.emit(f"{target} = {value}")

    def place(self, node: Node) -> tuple[str, Any]:
        """What is assigned to, and its type where it is known."""
        if node.kind == "tuple":
            return "(" + ", ".join(self.place(one)[0] for one in node.values) + ",)", None
        if node.kind == "name":
            return self.named_place(node)
        if node.kind == "member":
            self.changed(node.base)
            owners = self.universe.properties.get(node.name, [])
            fields = [one.fields[node.name] for one in owners if node.name in one.fields]
            is_own = node.base.kind == "name" and node.base.name == "self"
            if is_own and not self.scope.in_init:
                self.check_mutating(node)
            if fields and not is_own and node.name not in MEMBERS and all(one.word == "let" for one in fields):
                self.say(node, f"{node.name} is a constant")
            if not fields and node.name not in MEMBERS:
                self.say(node, f"nothing has a member {node.name}")
            kinds = {repr(one.type): one.type for one in fields}
            return f"{self.expr(node.base)}.f_{node.name}", next(iter(kinds.values())) if len(kinds) == 1 else None
        if node.kind == "index":
            self.changed(node.base)
            (place,) = self.arguments_of(node.arguments, [None])
            return f"{self.expr(node.base)}[{place}]", None
        self.say(node, "cannot be assigned to")
        return "_", None

    def named_place(self, node: Node) -> tuple[str, Any]:
        local = self.scope.find(node.name)
        if local is not None:
            local.writes += 1
            return local.python, None
        owner = self.scope.owner
        if node.name == "self":
            return "self.__dict__", None
        if node.name == "_" or node.name in INHERITED:
            return "_", None
        if owner is not None and node.name in owner.fields:
            field = owner.fields[node.name]
            if not self.scope.in_init:
                self.check_mutating(node)
                if field.word == "let":
                    self.say(node, f"{node.name} is a constant")
            return f"self.f_{node.name}", field.type
        self.say(node, f"cannot find {node.name} in scope")
        return "_", None

    def changed(self, node: Node) -> None:
        """The variable that a change goes to."""
        while node.kind in ("member", "index", "unwrap", "force"):
            node = node.base if hasattr(node, "base") else node.value
        if node.kind == "name":
            local = self.scope.find(node.name)
            if local is not None:
                local.writes += local.word in ("var", "inout") or self.module == "ModelWrapperCore"
            elif self.scope.owner is not None and node.name in self.scope.owner.fields and not self.scope.in_init:
                self.check_mutating(node)

    def check_mutating(self, node: Node) -> None:
        owner, function = self.scope.owner, self.scope.function
        is_struct = owner is not None and owner.word in ("struct", "enum")
        if is_struct and (function is None or "mutating" not in function.node.modifiers):
            self.say(node, "self is a constant in a method that is not mutating")

    def s_do_expression(self, node: Node) -> None:
        value = node.value
        called = value.value if value.kind == "try" else value
        if called.kind == "call" and called.base.kind == "member" and called.base.name in (
            "append", "remove", "replaceSubrange", "reserveCapacity"
        ):  # fmt: skip
            self.changed(called.base.base)
        elif called.kind not in ("call", "closure"):
            self.say(node, "the result of an expression is not used")
        self.emit(self.expr(value))

    def s_if(self, node: Node) -> None:
        self.scope.blocks.append({})
        flag = self.fresh("otherwise")
        self.emit(f"{flag} = True")
        depth = self.depth
        self.conditions(node.conditions)
        self.emit(f"{flag} = False")
        self.body(node.yes)
        self.depth = depth
        self.scope.blocks.pop()
        if node.no:
            self.emit(f"if {flag}:")
            self.nested(node.no)

    def conditions(self, conditions: list[Node]) -> None:
        """Goes one level deeper for each."""
        for one in conditions:
            if one.kind == "test":
                self.emit(f"if {self.expr(one.value)}:")
            elif one.kind == "bind":
                held = self.fresh("held")
                self.emit(f"{held} = {self.expr(one.value)}")
                self.emit(f"if {held} is not None:")
                self.emit(f"    {self.target(one.pattern, one.line, 'bind')} = {held}")
            else:
                held = self.fresh("held")
                self.emit(f"{held} = {self.expr(one.value)}")
                self.matched(held, one.pattern)
            self.depth += 1

    def matched(self, held: str, pattern: Node) -> None:
        """An `if` whose body the caller goes on with."""
        if pattern.kind == "payload":
            if pattern.name not in self.universe.cases:
                self.say(pattern, f"nothing is known as .{pattern.name}")
            self.emit(f"if {held}.case == {pattern.name!r}:")
            names = [self.target(name, pattern.line, "bind") for name in pattern.names]
            self.emit(f"    {', '.join(names)}, = {held}.payload")
        elif pattern.value.kind == "implicit" and pattern.value.name in self.universe.cases:
            self.emit(f"if {held}.case == {pattern.value.name!r}:")
        else:
            self.emit(f"if matches({held}, {self.expr(pattern.value)}):")

    def s_guard(self, node: Node) -> None:
        flag = self.fresh("otherwise")
        self.emit(f"{flag} = True")
        depth = self.depth
        self.conditions(node.conditions)
        self.emit(f"{flag} = False")
        self.depth = depth
        self.emit(f"if {flag}:")
        self.nested(node.no)
        if not ends(node.no):
            self.say(node, "'guard' body must not fall through")

    def s_for(self, node: Node) -> None:
        self.scope.blocks.append({})
        values = self.expr(node.values)
        self.emit(f"for {self.target(node.pattern, node.line, 'loop')} in each({values}):")
        self.depth += 1
        if node.where is not None:
            self.emit(f"if not {self.expr(node.where)}: continue")
        self.body(node.body)
        self.emit("pass")
        self.depth -= 1
        self.scope.blocks.pop()

    def s_while(self, node: Node) -> None:
        self.scope.blocks.append({})
        self.emit("while True:")
        self.depth += 1
        depth, flag = self.depth, self.fresh("done")
        self.emit(f"{flag} = True")
        self.conditions(node.conditions)
        self.emit(f"{flag} = False")
        self.body(node.body)
        self.depth = depth
        self.emit(f"if {flag}: break")
        self.depth -= 1
        self.scope.blocks.pop()

    def s_switch(self, node: Node) -> None:
        held, flag = self.fresh("held"), self.fresh("unmatched")
        self.emit(f"{held} = {self.expr(node.value)}")
        self.emit(f"{flag} = True")
        self.exhaustive(node)
        for patterns, body in node.entries:
            for pattern in patterns or [None]:
                self.scope.blocks.append({})
                depth = self.depth
                self.emit(f"if {flag}:")
                self.depth += 1
                if pattern is not None:
                    self.matched(held, pattern)
                    self.depth += 1
                self.emit(f"{flag} = False")
                self.body(body)
                self.depth = depth
                self.scope.blocks.pop()

    def exhaustive(self, node: Node) -> None:
        """A switch without a default names every case of one enum."""
        if any(not patterns for patterns, _ in node.entries):
            return
        names = {p.name if p.kind == "payload" else getattr(p.value, "name", "") for ps, _ in node.entries for p in ps}
        if not any(names == set(one.cases) for one in self.universe.types.values()):
            self.say(node, "switch must be exhaustive")

    def s_return(self, node: Node) -> None:
        function = self.scope.function if self.scope.outer is None else None
        result = self.result if self.scope.outer is None else None
        if node.value is None:
            self.emit("return None")
            return
        value = self.expr(node.value, result)
        if function is not None and function.name != "init" and result is None:
            self.say(node, "unexpected value in a function without a result")
        generics = function.generics if function else []
        self.emit(f"return typed({value}, {result!r}, {generics!r})" if result else f"return settled({value})")

    def s_throw(self, node: Node) -> None:
        if not self.scope.handles:
            self.scope.leaks = True
        self.emit(f"raise Thrown({self.expr(node.value)})")

    def s_do(self, node: Node) -> None:
        self.emit("try:")
        before = self.scope.leaks
        self.nested(node.body)
        self.scope.leaks = before or node.type is not None
        self.scope.blocks.append({})
        local = self.scope.declare(node.error, self.fresh("error"), node.line, "caught")
        self.emit("except Thrown as thrown:")
        self.emit(f"    {local.python} = thrown.value")
        if node.type is not None:
            self.emit(f"    if not isinstance({local.python}, T_{node.type[1]}): raise")
        self.nested(node.handler)
        self.scope.blocks.pop()

    def s_defer(self, node: Node) -> None:
        self.nested_if(node)

    def nested_if(self, node: Node) -> None:
        self.emit("if True:")
        self.nested(node.body)

    def s_break(self, node: Node) -> None:
        self.emit("break")

    def s_continue(self, node: Node) -> None:
        self.emit("continue")
