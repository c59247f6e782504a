"""Expressions of Swift to Python's, names and labels checked on the way."""

from __future__ import annotations

import re
from typing import Any

from .known import FUNCTIONS, INHERITED, MEMBERS, TYPES
from .scopes import Scope
from .syntax import Node
from .universe import Function, Type, Universe

OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "&+": "wadd", "&-": "wsub", "&*": "wmul", "&": "band",
    "|": "bor", "^": "bxor", "<<": "shl", ">>": "shr", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne",
    "..<": "upto", "...": "through",
}  # fmt: skip
POSTFIX = {"member", "call", "index", "unwrap", "force", "name"}


class Expressions:
    """Python text of expressions; closures become functions before the statement that they are in (`prelude`)."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.problems: list[str] = list(universe.problems)
        self.module = self.path = ""
        self.scope: Scope = Scope(None, is_static=True)
        self.lines: list[str] = []
        self.depth = 0
        self.count = 0
        self.called: list[str] = []
        """Calls in the function being read that can throw."""
        self._inside = False

    def say(self, node: Node, text: str) -> None:
        self.problems.append(f"{self.path}:{node.line}: {text}")

    def fresh(self, name: str) -> str:
        self.count += 1
        return f"{re.sub('[^A-Za-z0-9_]', '_', name)}_{self.count}"

    def emit(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def expr(self, node: Node, expected: Any = None) -> str:
        before = self._inside
        self._inside = before and node.kind in POSTFIX
        text = getattr(self, f"x_{node.kind}")(node, expected)
        self._inside = before
        return str(text)

    def x_number(self, node: Node, _: Any) -> str:
        text = node.text.replace("_", "")
        if "p" in text:
            return f"LFloat({float.fromhex(text)!r})"
        if text.startswith("0x"):
            return f"LInt({int(text, 16)})"
        return f"LFloat({text})" if "." in text or "e" in text else f"LInt({text})"

    def x_text(self, node: Node, _: Any) -> str:
        parts = [repr(part) if isinstance(part, str) else f"shown({self.expr(part)})" for part in node.parts]
        return "+".join(parts)

    def x_true(self, node: Node, _: Any) -> str:
        return "True"

    def x_false(self, node: Node, _: Any) -> str:
        return "False"

    def x_nil(self, node: Node, _: Any) -> str:
        return "None"

    def x_operator(self, node: Node, _: Any) -> str:
        return f"op_{OPERATORS[node.op]}"

    def x_tuple(self, node: Node, expected: Any) -> str:
        kinds = expected[1] if expected and expected[0] == "tuple" and len(expected[1]) == len(node.values) else []
        values = [self.expr(v, kinds[i] if kinds else None) for i, v in enumerate(node.values)]
        return f"({', '.join(values)},)" if values else "None"

    def x_array(self, node: Node, expected: Any) -> str:
        inner = expected[1] if expected and expected[0] == "array" else None
        return f"listed([{', '.join(self.expr(value, inner) for value in node.values)}])"

    def x_dictionary(self, node: Node, expected: Any) -> str:
        inner = expected[2] if expected and expected[0] == "dictionary" else None
        return "{" + ", ".join(f"{self.expr(k)}: {self.expr(v, inner)}" for k, v in node.pairs) + "}"

    def x_ternary(self, node: Node, expected: Any) -> str:
        yes, no = self.expr(node.yes, expected), self.expr(node.no, expected)
        return f"({yes} if {self.expr(node.test)} else {no})"

    def x_binary(self, node: Node, expected: Any) -> str:
        if node.op in ("&&", "||"):
            return f"({self.expr(node.left)} {'and' if node.op == '&&' else 'or'} {self.expr(node.right)})"
        if node.op == "??":
            return f"either({self.expr(node.left, expected)}, lambda: {self.expr(node.right, expected)})"
        return f"op_{OPERATORS[node.op]}({self.expr(node.left)}, {self.expr(node.right)})"

    def x_prefix(self, node: Node, expected: Any) -> str:
        value = self.expr(node.value, expected)
        if node.op == "&":
            local = self.scope.find(node.value.name) if node.value.kind == "name" else None
            if local is not None:
                local.writes += 1
            return value
        return {"-": f"op_neg({value})", "!": f"(not {value})", "~": f"op_not({value})"}[node.op]

    def x_from(self, node: Node, _: Any) -> str:
        return f"op_from({self.expr(node.value)})"

    def x_cast(self, node: Node, _: Any) -> str:
        return self.expr(node.value)

    def x_force(self, node: Node, _: Any) -> str:
        return f"force({self.expr(node.value)})"

    def x_try(self, node: Node, expected: Any) -> str:
        before = len(self.called)
        self.scope.handles += 1
        value = self.expr(node.value, expected)
        self.scope.handles -= 1
        if len(self.called) == before and self.module == "ModelWrapperCore":
            self.say(node, "no calls to throwing functions occur within 'try'")
        if node.optional:
            return f"attempt(lambda: {value})"
        self.scope.leaks = True
        return value

    def throwing(self, node: Node, name: str) -> None:
        """A call that can throw is met."""
        self.called.append(name)
        if not self.scope.handles:
            self.say(node, f"call of {name} can throw but is not marked with 'try'")

    def x_unwrap(self, node: Node, _: Any) -> str:
        return f"wanted({self.expr(node.value)})"

    def chained(self, node: Node, text: str) -> str:
        """The whole of a chain in which a `?` ends it where there is nothing."""
        return f"chain(lambda: {text})" if self._has_unwrap(node) and not self._inside else text

    def _has_unwrap(self, node: Node) -> bool:
        while node.kind in ("member", "call", "index", "unwrap", "force"):
            if node.kind == "unwrap":
                return True
            node = node.base if hasattr(node, "base") else node.value
        return False

    def base(self, node: Node) -> str:
        before, self._inside = self._inside, True
        text = self.expr(node)
        self._inside = before
        return text

    def arguments_of(self, nodes: list[Node], expected: list[Any]) -> list[str]:
        before, self._inside = self._inside, False
        texts = [self.expr(one.value, kind) for one, kind in zip(nodes, expected, strict=True)]
        self._inside = before
        return texts

    def x_index(self, node: Node, _: Any) -> str:
        (place,) = self.arguments_of(node.arguments, [None])
        return self.chained(node, f"index({self.base(node.base)}, {place})")

    def x_implicit(self, node: Node, expected: Any) -> str:
        kind = self.named(expected)
        owners = self.universe.cases.get(node.name, [])
        if kind is not None and node.name in kind.cases:
            return f"T_{kind.name}.c_{node.name}"
        if len(owners) == 1:
            return f"T_{owners[0].name}.c_{node.name}"
        if node.name in MEMBERS:
            return f"Implicit({node.name!r})"
        self.say(node, f"nothing is known as .{node.name}" if not owners else f".{node.name} may be of several types")
        return "None"

    def named(self, kind: Any) -> Type | None:
        while kind and kind[0] == "optional":
            kind = kind[1]
        return self.universe.types.get(kind[1]) if kind and kind[0] == "named" else None

    def x_name(self, node: Node, expected: Any) -> str:
        name = node.name
        if name == "self":
            return "self"
        local = self.scope.find(name)
        if local is not None:
            local.uses += 1
            return local.python
        if re.fullmatch(r"\$[0-9]", name):
            return f"a_{name[1:]}"
        return self.member_name(node, name) or self.outside(node, name)

    def member_name(self, node: Node, name: str) -> str:
        """A member of the type that is written in, or of one around it."""
        owner = self.scope.owner
        for number, kind in enumerate(owner.chain() if owner else ()):
            if kind.instance(name):
                if self.scope.is_static or number:
                    self.say(node, f"instance member {name} cannot be used here")
                return f"self.f_{name}"
            if name in kind.statics:
                if not self.scope.is_static and number == 0:
                    self.say(node, f"static member {name} cannot be used on an instance")
                return f"T_{kind.name}.s_{name}()"
            if name in kind.functions:
                return self.reference(kind.functions[name][0], "self")
        return ""

    def reference(self, function: Function, target: str) -> str:
        owner = function.owner
        if owner is None:
            return f"G.{function.mangled}"
        return f"{f'T_{owner.name}' if function.is_static else target}.{function.mangled}"

    def outside(self, node: Node, name: str) -> str:
        if name in self.universe.types:
            return f"T_{name}"
        if name in self.universe.globals:
            return self.reference(self.universe.globals[name][0], "")
        if name in TYPES | FUNCTIONS | INHERITED:
            return f"b_{name.lstrip('#')}"
        if name in self.scope.generics:
            return "generic"
        if name == "Self" and self.scope.owner:
            return f"T_{self.scope.owner.name}"
        self.say(node, f"cannot find {name} in scope")
        return "None"

    def x_member(self, node: Node, _: Any) -> str:
        kind = self.type_named(node.base)
        if kind is not None:
            return self.static_member(node, kind)
        if node.name.isdigit():
            return self.chained(node, f"{self.base(node.base)}[{node.name}]")
        owners = self.universe.properties.get(node.name, [])
        if not owners and node.name not in MEMBERS and node.name not in self.universe.functions:
            self.say(node, f"nothing has a member {node.name}")
        self.seen(node, [one.fields.get(node.name) or one.computed.get(node.name) for one in owners])
        return self.chained(node, f"get({self.base(node.base)}, {node.name!r})")

    def seen(self, node: Node, members: list[Any]) -> None:
        """Whether one of the members may be used from here."""
        mine = [one for one in members if one is not None]
        if getattr(node, "name", "") in MEMBERS:
            return
        if mine and all(one.access == "private" and one.path != self.path for one in mine):
            self.say(node, f"{getattr(node, 'name', 'it')} is private")
        if mine and all(one.access != "public" and one.module != self.module for one in mine):
            self.say(node, f"{getattr(node, 'name', 'it')} is not public")

    def type_named(self, node: Node) -> Type | None:
        if node.kind == "name" and self.scope.find(node.name) is None and not self.member_is(node.name):
            return self.universe.types.get(node.name)
        if node.kind == "member" and self.type_named(node.base) is not None:
            return self.universe.types.get(node.name)
        return None

    def member_is(self, name: str) -> bool:
        return any(one.instance(name) for one in (self.scope.owner.chain() if self.scope.owner else ()))

    def static_member(self, node: Node, kind: Type) -> str:
        name = node.name
        if name in kind.statics:
            self.seen(node, [kind.statics[name]])
            return f"T_{kind.name}.s_{name}()"
        if name in kind.cases:
            return f"T_{kind.name}.c_{name}"
        if name in kind.functions:
            return self.reference(kind.functions[name][0], "None")
        if name in self.universe.types and name in kind.nested:
            return f"T_{name}"
        if name == "allCases" and "CaseIterable" in kind.inherits:
            return f"T_{kind.name}.allCases()"
        if kind.word != "external" and name not in ("self",):
            self.say(node, f"type {kind.name} has no member {name}")
        return "None"
