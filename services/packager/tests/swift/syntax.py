"""Statements and expressions of the Swift that the wrapper is written in, with Swift's own precedences."""

from __future__ import annotations

from functools import cache
from typing import Any

from .lexer import SwiftError, Token, tokens

BINARY = {
    "||": 110, "&&": 120, "==": 130, "!=": 130, "<": 130, ">": 130, "<=": 130, ">=": 130, "??": 131, "..<": 135, "...": 135,
    "+": 140, "-": 140, "&+": 140, "&-": 140, "|": 140, "^": 140, "*": 150, "/": 150, "%": 150, "&": 150, "&*": 150,
    "<<": 160, ">>": 160,
}  # fmt: skip
ASSIGN = {"=", "+=", "-=", "*=", "/=", "|=", "^=", "&="}
TERNARY, CAST = 100, 132


class Node:
    """A part of a program: its kind, its line, and whatever else its kind has."""

    def __init__(self, kind: str, line: int, **parts: Any) -> None:
        self.kind, self.line = kind, line
        self.__dict__.update(parts)

    def __repr__(self) -> str:
        return f"{self.kind}@{self.line}"


class Reader:
    """Walks over tokens."""

    def __init__(self, given: list[Token]) -> None:
        self.tokens, self.place = given, 0

    @property
    def now(self) -> Token:
        return self.tokens[self.place]

    def sees(self, *values: str) -> bool:
        return self.now.kind != "text" and self.now.value in values

    def take(self, value: str) -> bool:
        found = self.sees(value)
        self.place += found
        return found

    def need(self, value: str) -> None:
        if not self.take(value):
            raise SwiftError(f"line {self.now.line}: {value!r} wanted, {self.now.value!r} found")

    def name_or_number(self) -> str:
        if self.now.kind == "number":
            self.place += 1
            return str(self.tokens[self.place - 1].value)
        return self.name()

    def name(self) -> str:
        token = self.now
        if token.kind not in ("name", "keyword"):
            raise SwiftError(f"line {token.line}: a name wanted, {token.value!r} found")
        self.place += 1
        return str(token.value)


class Expressions(Reader):
    """Precedence climbing; `braces` says whether a brace after an expression begins a closure."""

    def expression(self, least: int = 0, braces: bool = True) -> Node:
        left = self.prefix(braces)
        while True:
            token = self.now
            if token.kind == "keyword" and token.value in ("as", "is") and least <= CAST:
                left = self.cast(left)
            elif token.kind != "operator" or token.after_space != token.before_space:
                return left
            elif token.value == "?" and token.after_space and least <= TERNARY:
                self.place += 1
                yes = self.expression(TERNARY, braces)
                self.need(":")
                left = Node("ternary", token.line, test=left, yes=yes, no=self.expression(TERNARY, braces))
                self.no_try(yes, left.no)
            elif token.value in BINARY and BINARY[token.value] >= max(least, 1):
                left = self.binary(left, braces)
            else:
                return left

    def binary(self, left: Node, braces: bool) -> Node:
        token = self.now
        self.place += 1
        strength = BINARY[str(token.value)]
        right = self.expression(strength + (token.value != "??"), braces)
        self.no_try(right)
        return Node("binary", token.line, op=token.value, left=left, right=right)

    def no_try(self, *nodes: Node) -> None:
        for node in nodes:
            if node.kind == "try":
                raise SwiftError(f"line {node.line}: 'try' cannot appear to the right of an operator")

    def cast(self, left: Node) -> Node:
        line, word = self.now.line, self.name()
        optional = self.take("?") or self.take("!")
        return Node("cast", line, word=word, value=left, type=self.type(), optional=optional)

    def prefix(self, braces: bool) -> Node:
        token = self.now
        if token.value == "try" and token.kind == "keyword":
            self.place += 1
            optional = self.take("?")
            return Node("try", token.line, optional=optional, value=self.expression(TERNARY, braces))
        if token.kind == "name" and token.value == "await":
            self.place += 1
            return self.expression(TERNARY, braces)
        if token.kind == "operator" and token.value in ("-", "!", "~", "&") and not token.before_space:
            self.place += 1
            return Node("prefix", token.line, op=token.value, value=self.postfix(self.primary(), braces))
        return self.postfix(self.primary(), braces)

    def primary(self) -> Node:
        token = self.now
        self.place += 1
        line = token.line
        if token.kind == "number":
            return Node("number", line, text=token.value)
        if token.kind == "text":
            return Node("text", line, parts=[self.inner(part) for part in token.value])
        if token.kind == "name" or token.value in ("self", "init"):
            return Node("name", line, name=token.value)
        if token.kind == "keyword" and token.value in ("true", "false", "nil"):
            return Node(token.value, line)
        if token.value in ("#filePath", "#line", "#selector"):
            return Node("name", line, name=token.value)
        if token.value == ".":
            return Node("implicit", line, name=self.name())
        if token.value == "(":
            return self.tuple_of(line)
        if token.value == "[":
            return self.collection(line)
        if token.value == "{":
            return self.closure(line)
        if token.kind == "operator" and token.value in BINARY:
            return Node("operator", line, op=token.value)
        raise SwiftError(f"line {line}: {token.value!r} begins no expression")

    def inner(self, part: object) -> object:
        return part if isinstance(part, str) else type(self)(part).expression()  # type: ignore[arg-type]

    def tuple_of(self, line: int) -> Node:
        values = [argument.value for argument in self.arguments(")")]
        return values[0] if len(values) == 1 else Node("tuple", line, values=values)

    def collection(self, line: int) -> Node:
        if self.take(":"):
            self.need("]")
            return Node("dictionary", line, pairs=[])
        keys, values = [], []
        while not self.take("]"):
            keys.append(self.expression())
            if self.take(":"):
                values.append(self.expression())
            if not self.sees("]"):
                self.need(",")
        if values:
            return Node("dictionary", line, pairs=list(zip(keys, values, strict=True)))
        return Node("array", line, values=keys)

    def arguments(self, end: str) -> list[Node]:
        found = []
        while not self.take(end):
            line, label = self.now.line, None
            if self.now.kind in ("name", "keyword") and self.tokens[self.place + 1].value == ":":
                label = self.name()
                self.place += 1
            found.append(Node("argument", line, label=label, value=self.expression()))
            if not self.sees(end):
                self.need(",")
        return found

    def postfix(self, node: Node, braces: bool) -> Node:
        while True:
            token = self.now
            if token.value == "." and token.kind == "mark":
                self.place += 1
                node = Node("member", token.line, base=node, name=self.name_or_number())
            elif self.sees("(", "[") and not token.starts_line and not token.after_space:
                self.place += 1
                kind = "call" if token.value == "(" else "index"
                node = Node(kind, token.line, base=node, arguments=self.arguments(")" if kind == "call" else "]"))
            elif token.kind == "operator" and token.value in ("?", "!") and not token.after_space:
                self.place += 1
                node = Node("unwrap" if token.value == "?" else "force", token.line, value=node)
            elif token.kind == "operator" and token.value == "..." and token.before_space and not token.after_space:
                self.place += 1
                return Node("from", token.line, value=node)
            elif braces and self.sees("{") and node.kind in ("call", "member", "name"):
                self.place += 1
                closing = Node("argument", token.line, label=None, value=self.closure(token.line), trailing=True)
                given = node.arguments if node.kind == "call" else []
                base = node.base if node.kind == "call" else node
                node = Node("call", token.line, base=base, arguments=[*given, closing])
            else:
                return node

    def closure(self, line: int) -> Node:
        start, names = self.place, []
        if self.take("("):
            while not self.take(")"):
                names.append(self.name())
                if self.take(":"):
                    self.type()
                self.take(",")
        else:
            while self.now.kind == "name":
                names.append(self.name())
                self.take(",")
        if self.take("->"):
            self.type()
        if not (names and self.take("in")):
            self.place, names = start, []
        return Node("closure", line, names=names, body=self.block_rest())

    def block_rest(self) -> list[Node]:
        raise NotImplementedError

    def type(self) -> Any:
        """("named", name), ("optional", type), ("array", type), ("dictionary", key, value), ("tuple", …) or ("function", …)."""
        if self.sees("any", "inout"):
            self.place += 1
        found: Any
        if self.take("["):
            found = ("array", self.type())
            if self.take(":"):
                found = ("dictionary", found[1], self.type())
            self.need("]")
        elif self.take("("):
            parts = []
            while not self.take(")"):
                if self.tokens[self.place + 1].value == ":":
                    self.place += 2
                parts.append(self.type())
                self.take(",")
            throws = self.take("throws")
            found = ("function", parts, self.type(), throws) if self.take("->") else ("tuple", parts)
        else:
            found = ("named", self.name())
            while self.sees(".", "<"):
                if self.take("<"):
                    self.type()
                    self.need(">")
                else:
                    self.place += 1
                    found = ("named", self.name())
        while self.sees("?", "??"):
            found = ("optional", found)
            self.place += 1
        return found


@cache
def read(source: str, modules: frozenset[str]) -> list[Node]:
    """The declarations and statements of a file."""
    from .declarations import Program

    return Program(tokens(source, modules)).whole()
