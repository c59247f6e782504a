"""Calls and closures of Swift to Python's: the labels must be those of a declared function."""

from __future__ import annotations

from typing import Any

from .expressions import Expressions
from .known import FUNCTIONS, INHERITED, MEMBERS, TYPES
from .scopes import Scope
from .syntax import Node
from .universe import Function, Type


def numbered(part: Any) -> int:
    """How many `$0`, `$1`… a closure has, not counting those of closures in it."""
    if isinstance(part, (list, tuple)):
        return max((numbered(one) for one in part), default=0)
    if not isinstance(part, Node) or part.kind == "closure":
        return 0
    if part.kind == "name" and part.name.startswith("$"):
        return int(part.name[1:]) + 1
    return max((numbered(one) for one in vars(part).values()), default=0)


class Calls(Expressions):
    """Expressions with calls."""

    def x_call(self, node: Node, expected: Any) -> str:
        base, given = node.base, node.arguments
        if base.kind == "array":
            return f"repeated({self.named_arguments(given)})"
        if base.kind == "implicit":
            return self.implicit_call(base, given, expected)
        if base.kind == "name":
            return self.chained(node, self.plain(node, base, given, expected))
        if base.kind == "member":
            return self.chained(node, self.method(node, base, given, expected))
        return self.chained(node, f"{self.base(base)}({self.named_arguments(given)})")

    def plain(self, node: Node, base: Node, given: list[Node], expected: Any) -> str:
        name = base.name
        local = self.scope.find(name)
        if local is not None:
            local.uses += 1
            if name == "ask":
                self.throwing(node, name)
            return f"{local.python}({self.named_arguments(given)})"
        for kind in self.scope.owner.chain() if self.scope.owner else ():
            if name in kind.functions:
                return self.own(node, kind.functions[name], given, expected, "self")
            if name in kind.computed or name in kind.fields:
                break
        if name in self.universe.types:
            return self.construct(node, self.universe.types[name], given, expected)
        if name in self.universe.globals:
            return self.own(node, self.universe.globals[name], given, expected, "")
        if name in self.scope.generics:
            return f"generic.make({self.named_arguments(given)})"
        if name not in TYPES | FUNCTIONS | INHERITED:
            self.say(node, f"cannot find {name} in scope")
        if name in TYPES and self.scope.handles:
            self.called.append(name)
        return f"b_{name.lstrip('#')}({self.named_arguments(given)})"

    def construct(self, node: Node, kind: Type, given: list[Node], expected: Any) -> str:
        if kind.word == "enum" and [one.label for one in given] == ["rawValue"]:
            return f"T_{kind.name}.make({self.named_arguments(given)})"
        if kind.word == "external" or (kind.word == "class" and not kind.inits):
            return f"b_Any({self.named_arguments(given)})"
        return self.own(node, kind.inits, given, expected, f"T_{kind.name}", what=kind.name)

    def method(self, node: Node, base: Node, given: list[Node], expected: Any) -> str:
        kind = self.type_named(base.base)
        if kind is None and base.base.kind == "name" and base.base.name == "Self":
            kind = self.scope.owner
        if kind is not None:
            if base.name in kind.cases:
                (payload, _) = kind.cases[base.name]
                return f"T_{kind.name}.c_{base.name}({', '.join(self.arguments_of(given, list(payload)))})"
            if base.name in kind.functions:
                static = [one for one in kind.functions[base.name] if one.is_static]
                return self.own(node, static, given, expected, f"T_{kind.name}")
            if base.name in self.universe.types:
                return self.construct(node, self.universe.types[base.name], given, expected)
            if base.name == "init":
                return self.own(node, kind.inits, given, expected, f"T_{kind.name}", what=kind.name)
            if kind.word != "external" and base.name not in kind.statics:
                self.say(node, f"type {kind.name} has no member {base.name}")
        if base.name == "init" and base.base.kind == "name" and base.base.name == "self" and self.scope.owner:
            owner = self.scope.owner
            return f"become(self, {self.own(node, owner.inits, given, expected, f'T_{owner.name}', what=owner.name)})"
        return self.on_value(node, base, given, expected)

    def on_value(self, node: Node, base: Node, given: list[Node], expected: Any) -> str:
        """A method of something whose type is not known: one of ours with these labels, or one of the library's."""
        labels = [one.label for one in given]
        trailing = bool(given) and hasattr(given[-1], "trailing")
        mine = [one for one in self.universe.functions.get(base.name, []) if not one.is_static]
        fitting = [one for one in mine if one.match(labels, trailing) is not None]
        if not fitting and base.name not in MEMBERS:
            self.say(node, f"nothing has a method {base.name}({', '.join(label or '_' for label in labels)})")
        if base.base.kind == "name" and base.base.name == "self" and self.scope.owner and mine and not fitting:
            self.say(node, f"no {base.name} takes these labels")
        target = self.base(base.base)
        if base.name == "withUnsafeMutableBytes":
            self.changed(base.base)
        if not fitting:
            before = len(self.called)
            text = self.named_arguments(given)
            if len(self.called) > before and self.leaky and not self.scope.handles:
                self.say(node, f"a closure of {base.name} can throw but the call is not marked with 'try'")
            return f"call({target}, {base.name!r}, {text})"
        self.seen(base, fitting)
        chosen = fitting[0]
        if "mutating" in chosen.node.modifiers:
            self.changed(base.base)
        if chosen.throws:
            self.throwing(node, base.name)
        kinds = [one.type for one in chosen.match(labels, trailing) or ()]
        texts = self.arguments_of(given, kinds)
        keywords = ", ".join(
            f"p_{p.name}={t}" for p, t in zip(chosen.match(labels, trailing) or (), texts, strict=True)
        )
        plain = ", ".join(texts) if base.name in MEMBERS else ""
        generic = f", generic={self.generic(expected)}" if chosen.generics else ""
        return f"send({target}, {chosen.mangled!r}, {base.name!r}, [{plain}], dict({keywords}{generic}))"

    def own(
        self, node: Node, functions: list[Function], given: list[Node], expected: Any, target: str, what: str = ""
    ) -> str:
        labels = [one.label for one in given]
        trailing = bool(given) and hasattr(given[-1], "trailing")
        fitting = [one for one in functions if one.match(labels, trailing) is not None]
        name = what or (functions[0].name if functions else "it")
        if not fitting:
            self.say(node, f"no {name} takes ({', '.join(label or '_' for label in labels)})")
            return "None"
        chosen = fitting[0]
        self.seen(Node("called", node.line, name=name), [chosen])
        if self.scope.is_static and target == "self" and not chosen.is_static and chosen.owner is self.scope.owner:
            self.say(node, f"instance member {name} cannot be used here")
        if not self.scope.is_static and target == "self" and chosen.is_static and chosen.owner is self.scope.owner:
            self.say(node, f"static member {name} cannot be used on an instance")
        if chosen.throws:
            self.throwing(node, name)
        if "mutating" in chosen.node.modifiers and target == "self":
            self.check_mutating(node)
        matched = chosen.match(labels, trailing) or []
        texts = self.arguments_of(given, [one.type for one in matched])
        keywords = ", ".join(f"p_{p.name}={t}" for p, t in zip(matched, texts, strict=True))
        if chosen.generics:
            keywords += f"{', ' if keywords else ''}generic={self.generic(expected)}"
        return f"{self.reference(chosen, target) if not what else f'{target}.{chosen.mangled}'}({keywords})"

    def generic(self, expected: Any) -> str:
        kind = self.named(expected)
        return f"T_{kind.name}" if kind else "None"

    def implicit_call(self, base: Node, given: list[Node], expected: Any) -> str:
        kind = self.named(expected)
        owners = [kind] if kind is not None and base.name in kind.cases else self.universe.cases.get(base.name, [])
        if len(owners) == 1 and owners[0] is not None:
            payload = owners[0].cases[base.name][0]
            if len(payload) != len(given):
                self.say(base, f".{base.name} takes {len(payload)} values")
                return "None"
            return f"T_{owners[0].name}.c_{base.name}({', '.join(self.arguments_of(given, list(payload)))})"
        self.arguments_of(given, [None] * len(given))
        if self.module != "manifest" and base.name not in MEMBERS:
            self.say(base, f"nothing is known as .{base.name}")
        return "None"

    def named_arguments(self, given: list[Node]) -> str:
        texts = self.arguments_of(given, [None] * len(given))
        plain = [t for t, one in zip(texts, given, strict=True) if one.label is None]
        labelled = [f"{one.label!r}: {t}" for t, one in zip(texts, given, strict=True) if one.label is not None]
        return ", ".join(plain + ([f"**{{{', '.join(labelled)}}}"] if labelled else []))

    leaky = False

    def x_closure(self, node: Node, expected: Any) -> str:
        """A function of its own, written before the statement."""
        name = self.fresh("closure")
        scope = Scope(self.scope.owner, is_static=self.scope.is_static, outer=self.scope)
        outer_lines, outer_depth, outer_scope = self.lines, self.depth, self.scope
        self.lines, self.depth, self.scope = [], outer_depth + 1, scope
        inside, self._inside = self._inside, False
        pythons = [scope.declare(one, self.fresh(one), node.line, "closure").python for one in node.names]
        if len(node.body) == 1 and node.body[0].kind == "do_expression":
            result = expected[2] if expected and expected[0] == "function" else None
            value = self.expr(node.body[0].value, result)
            self.emit(f"return {value}")
        else:
            self.body(node.body)
        body, self.lines, self.depth, self.scope, self._inside = (
            self.lines,
            outer_lines,
            outer_depth,
            outer_scope,
            inside,
        )
        if not node.names:
            pythons = [f"a_{number}" for number in range(numbered(node.body))]
        self.emit(f"def {name}(*given):")
        if pythons:
            self.emit(f"    {', '.join(pythons)}, = spread(given, {len(pythons)})")
        self.lines += body or ["    " * (self.depth + 1) + "pass"]
        self.leaky = scope.leaks
        if scope.leaks:
            throws = expected and expected[0] == "function" and not (len(expected) > 3 and expected[3])
            if throws:
                self.say(node, "an error leaves a closure that must not throw")
            self.called.append("closure")
        return name

    def body(self, nodes: list[Node]) -> None:
        raise NotImplementedError

    def changed(self, node: Node) -> None:
        raise NotImplementedError

    def check_mutating(self, node: Node) -> None:
        raise NotImplementedError
