"""Declarations and statements of a Swift file."""

from __future__ import annotations

from typing import Any

from .lexer import SwiftError
from .syntax import ASSIGN, Expressions, Node

MODIFIERS = {
    "public", "private", "static", "final", "mutating", "override", "fileprivate", "internal", "@discardableResult",
    "@unchecked", "@main", "@objc", "@preconcurrency", "@_exported",
}  # fmt: skip
TYPES = ("struct", "enum", "class", "actor", "protocol", "extension")


class Program(Expressions):
    """A file: `whole` reads it."""

    def whole(self) -> list[Node]:
        found = []
        while self.now.kind != "end":
            found.append(self.statement())
        return found

    def block(self) -> list[Node]:
        self.need("{")
        return self.block_rest()

    def block_rest(self) -> list[Node]:
        found = []
        while not self.take("}"):
            found.append(self.statement())
        return found

    def statement(self) -> Node:
        line, modifiers = self.now.line, set()
        while self.now.value in MODIFIERS and self.now.kind in ("name", "meta"):
            modifiers.add(self.name() if self.now.kind == "name" else self.now.value)
            self.place += self.tokens[self.place].kind == "meta"
        word = str(self.now.value) if self.now.kind in ("keyword", "name") else ""
        is_type = word in TYPES and self.tokens[self.place + 1].kind == "name"
        reader: Any = self.type_declaration if is_type else getattr(self, f"{word}_", None)
        if reader is None or (self.now.kind == "name" and not is_type):
            return self.simple(line)
        self.place += 1
        node: Node = reader(word) if is_type else reader(line)
        node.modifiers, node.line = modifiers, line
        return node

    def simple(self, line: int) -> Node:
        target = self.expression()
        if self.now.kind == "operator" and self.now.value in ASSIGN:
            op = self.now.value
            self.place += 1
            return Node("assign", line, op=op, target=target, value=self.expression())
        return Node("do_expression", line, value=target)

    def import_(self, line: int) -> Node:
        return Node("import", line, name=self.name())

    def type_declaration(self, word: str) -> Node:
        name, inherits = self.name(), []
        while self.take("."):
            name = self.name()
        if self.take(":"):
            inherits.append(self.inherited())
            while self.take(","):
                inherits.append(self.inherited())
        return Node("type", self.now.line, word=word, name=name, inherits=inherits, members=self.block())

    def inherited(self) -> str:
        if self.now.kind == "meta":
            self.place += 1
        return str(self.type()[1])

    def parameters(self) -> list[Node]:
        self.need("(")
        found = []
        while not self.take(")"):
            line, label = self.now.line, self.name()
            name = label if self.sees(":") else self.name()
            self.need(":")
            is_inout = self.sees("inout")
            kind = self.type()
            default = self.expression() if self.take("=") else None
            found.append(
                Node("parameter", line, label=None if label == "_" else label, name=name, type=kind, default=default,
                     is_inout=is_inout)
            )  # fmt: skip
            self.take(",")
        return found

    def generics(self) -> list[str]:
        found = []
        if self.take("<"):
            while not self.take(">"):
                found.append(self.name())
                self.take(",")
        return found

    def constraints(self) -> None:
        if self.take("where"):
            while not self.sees("{"):
                self.place += 1

    def func_(self, line: int) -> Node:
        name, generics, parameters = self.name(), self.generics(), self.parameters()
        is_async = self.take("async")
        throws = self.take("throws")
        result = self.type() if self.take("->") else None
        self.constraints()
        body = self.block() if self.sees("{") else None
        return Node("func", line, name=name, generics=generics, parameters=parameters, throws=throws, result=result,
                    body=body, is_async=is_async)  # fmt: skip

    def init_(self, line: int) -> Node:
        parameters = self.parameters()
        throws = self.take("throws")
        return Node("init", line, name="init", generics=[], parameters=parameters, throws=throws, result=None,
                    body=self.block())  # fmt: skip

    def subscript_(self, line: int) -> Node:
        parameters = self.parameters()
        for one in parameters:
            one.label = None
        self.need("->")
        result = self.type()
        return Node("func", line, name="subscript", generics=[], parameters=parameters, throws=False, result=result,
                    body=self.block())  # fmt: skip

    def let_(self, line: int) -> Node:
        return self.variable("let", line)

    def var_(self, line: int) -> Node:
        return self.variable("var", line)

    def variable(self, word: str, line: int) -> Node:
        pattern = self.pattern()
        kind = self.type() if self.take(":") else None
        value = self.expression() if self.take("=") else None
        body = self.block() if kind is not None and value is None and self.sees("{") else None
        return Node("variable", line, word=word, pattern=pattern, type=kind, value=value, body=body)

    def pattern(self) -> Any:
        """A name, or a tuple of patterns."""
        if self.take("("):
            parts = []
            while not self.take(")"):
                parts.append(self.pattern())
                self.take(",")
            return tuple(parts)
        return self.name()

    def case_(self, line: int) -> Node:
        cases = []
        while True:
            name, payload, raw = self.name(), [], None
            if self.take("("):
                while not self.take(")"):
                    payload.append(self.type())
                    self.take(",")
            if self.take("="):
                raw = self.expression()
            cases.append((name, payload, raw))
            if not self.take(","):
                return Node("cases", line, cases=cases)

    def conditions(self, end: str) -> list[Node]:
        found = []
        while not self.sees(end):
            line = self.now.line
            if self.take("let") or self.take("var"):
                pattern = self.pattern()
                self.need("=")
                found.append(Node("bind", line, pattern=pattern, value=self.expression(braces=False)))
            elif self.take("case"):
                matched = self.case_pattern()
                self.need("=")
                found.append(Node("match", line, pattern=matched, value=self.expression(braces=False)))
            else:
                found.append(Node("test", line, value=self.expression(braces=False)))
            if not self.sees(end):
                self.need(",")
        return found

    def case_pattern(self) -> Node:
        """`.name(let a, let b)`, or an expression to be equal to."""
        line = self.now.line
        if self.sees(".") and self.tokens[self.place + 2].value == "(" and self.tokens[self.place + 3].value == "let":
            self.place += 1
            name, names = self.name(), []
            self.need("(")
            while not self.take(")"):
                self.need("let")
                names.append(self.name())
                self.take(",")
            return Node("payload", line, name=name, names=names)
        return Node("equal", line, value=self.expression(braces=False))

    def if_(self, line: int) -> Node:
        conditions, yes, no = self.conditions("{"), self.block(), []
        if self.take("else"):
            no = [self.statement()] if self.sees("if") else self.block()
        return Node("if", line, conditions=conditions, yes=yes, no=no)

    def guard_(self, line: int) -> Node:
        conditions = self.conditions("else")
        self.need("else")
        return Node("guard", line, conditions=conditions, no=self.block())

    def for_(self, line: int) -> Node:
        pattern = self.pattern()
        self.need("in")
        values = self.expression(braces=False)
        where = self.expression(braces=False) if self.take("where") else None
        return Node("for", line, pattern=pattern, values=values, where=where, body=self.block())

    def while_(self, line: int) -> Node:
        return Node("while", line, conditions=self.conditions("{"), body=self.block())

    def switch_(self, line: int) -> Node:
        value, entries = self.expression(braces=False), []
        self.need("{")
        while not self.take("}"):
            patterns = []
            if not self.take("default"):
                self.need("case")
                patterns.append(self.case_pattern())
                while self.take(","):
                    patterns.append(self.case_pattern())
            self.need(":")
            body = []
            while not self.sees("case", "default", "}"):
                body.append(self.statement())
            if not body:
                raise SwiftError(f"line {line}: a case without a statement")
            entries.append((patterns, body))
        return Node("switch", line, value=value, entries=entries)

    def return_(self, line: int) -> Node:
        return Node("return", line, value=None if self.sees("}") or self.now.starts_line else self.expression())

    def throw_(self, line: int) -> Node:
        return Node("throw", line, value=self.expression())

    def do_(self, line: int) -> Node:
        body = self.block()
        self.need("catch")
        kind, name = None, "error"
        if self.take("let"):
            name = self.name()
            self.need("as")
            kind = self.type()
        return Node("do", line, body=body, error=name, type=kind, handler=self.block())

    def defer_(self, line: int) -> Node:
        return Node("defer", line, body=self.block())

    def break_(self, line: int) -> Node:
        return Node("break", line)

    def continue_(self, line: int) -> Node:
        return Node("continue", line)

    def self_(self, line: int) -> Node:
        self.place -= 1
        return self.simple(line)

    def try_(self, line: int) -> Node:
        self.place -= 1
        return self.simple(line)
