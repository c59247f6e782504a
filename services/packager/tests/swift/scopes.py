"""What a function being read knows: its locals, whether errors may leave it, and what is to be said of it."""

from __future__ import annotations

from .syntax import Node
from .universe import Function, Type


class Local:
    """A constant or variable of a function."""

    def __init__(self, name: str, python: str, line: int, word: str) -> None:
        self.name, self.python, self.line, self.word = name, python, line, word
        self.uses = self.writes = 0


class Scope:
    """One body: of a function, or of a closure in it (`outer`)."""

    def __init__(self, owner: Type | None, *, is_static: bool, outer: Scope | None = None) -> None:
        self.owner, self.is_static, self.outer = owner, is_static, outer
        self.blocks: list[dict[str, Local]] = [{}]
        self.all: list[Local] = []
        self.function: Function | None = outer.function if outer else None
        self.handles = 0
        """How many `try` and `do` are around what is read now."""
        self.leaks = False
        """Whether an error may leave this body."""
        self.in_init = False
        self.generics: list[str] = outer.generics if outer else []

    def declare(self, name: str, python: str, line: int, word: str) -> Local:
        local = Local(name, python, line, word)
        self.blocks[-1][name] = local
        self.all.append(local)
        return local

    def find(self, name: str) -> Local | None:
        for block in reversed(self.blocks):
            if name in block:
                return block[name]
        return self.outer.find(name) if self.outer else None


def ends(body: list[Node]) -> bool:
    """Whether nothing comes after a body: it returns, throws or goes on with a loop in every case."""
    if not body:
        return False
    last = body[-1]
    if last.kind in ("return", "throw", "break", "continue"):
        return True
    if last.kind == "if":
        return ends(last.yes) and ends(last.no)
    if last.kind == "switch":
        return all(ends(entry) for _, entry in last.entries)
    if last.kind == "do":
        return ends(last.body) and ends(last.handler)
    if last.kind == "while":
        return last.conditions[0].kind == "test" and last.conditions[0].value.kind == "true"
    is_call = last.kind == "do_expression" and last.value.kind == "call" and last.value.base.kind == "name"
    return is_call and last.value.base.name in ("exit", "fatalError")
