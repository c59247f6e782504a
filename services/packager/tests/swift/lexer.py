"""Swift source to tokens; what `#if canImport` leaves out for a platform is left out."""

import re
from typing import NamedTuple

KEYWORDS = {
    "let", "var", "func", "init", "struct", "enum", "class", "actor", "protocol", "extension", "import", "case", "subscript",
    "if", "else", "guard", "for", "in", "where", "while", "switch", "default", "return", "throw", "throws", "do", "catch",
    "defer", "break", "continue", "try", "as", "is", "nil", "true", "false", "self", "inout",
}  # fmt: skip
_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)|(?P<newline>\n)|(?P<comment>//[^\n]*)
    |(?P<number>0x[0-9a-fA-F_]+(?:p-?[0-9]+)?|[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:e-?[0-9]+)?)
    |(?P<name>\$[0-9]+|[A-Za-z_][A-Za-z0-9_]*)
    |(?P<meta>[\#@][A-Za-z_]+)
    |(?P<text>")
    |(?P<operator>\.\.<|\.\.\.|[-+*/%=<>!&|^~?]+)
    |(?P<mark>[\[\](){},:;.])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "0": "\0"}


class SwiftError(SyntaxError):
    """What Swift would not take."""


class Token(NamedTuple):
    """`kind` is name, keyword, number, text, operator, mark, meta or end; `value` of a text is its parts, codes as tokens."""

    kind: str
    value: object
    line: int
    starts_line: bool
    after_space: bool
    before_space: bool


def tokens(source: str, modules: frozenset[str], line: int = 1) -> list[Token]:
    """All tokens, with an end; `modules` are those that can be imported."""
    found: list[Token] = []
    taken, place, starts, spaced = [True], 0, True, True
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise SwiftError(f"line {line}: {source[place : place + 20]!r}")
        kind, value = match.lastgroup, match.group()
        place = match.end()
        if kind in ("space", "newline", "comment"):
            spaced, starts = True, starts or kind == "newline"
            line += kind == "newline"
            continue
        if kind == "meta" and value in ("#if", "#else", "#endif"):
            end = source.index("\n", place)
            _branch(value, source[place:end], taken, modules)
            place = end
            continue
        if kind == "text":
            value, place = _text(source, place, modules, line)
        if all(taken):
            if kind == "name" and value in KEYWORDS:
                kind = "keyword"
            after = source[place : place + 1] in ("", " ", "\n", ")", "]", "}", ",", ":", ";")
            found.append(Token(kind, value, line, starts, spaced or _opens(source, match.start()), after))
        starts = spaced = False
    return [*found, Token("end", "", line, True, True, True)]


def _opens(source: str, place: int) -> bool:
    return place > 0 and source[place - 1] in "([{,:;"


def _branch(word: str, condition: str, taken: list[bool], modules: frozenset[str]) -> None:
    if word == "#if":
        name = re.fullmatch(r"\s*canImport\((\w+)\)\s*", condition)
        if name is None:
            raise SwiftError(f"#if{condition}")
        taken.append(name[1] in modules)
    elif word == "#else":
        taken[-1] = not taken[-1]
    else:
        taken.pop()


def _text(source: str, place: int, modules: frozenset[str], line: int) -> tuple[list[object], int]:
    """The parts of a string literal: texts, and token lists of what is interpolated."""
    parts: list[object] = []
    letters = ""
    while source[place] != '"':
        if source[place] == "\n":
            raise SwiftError(f"line {line}: no end of a string")
        if source[place : place + 2] == "\\(":
            end = _closing(source, place + 2)
            parts += [letters, tokens(source[place + 2 : end], modules, line)]
            letters, place = "", end + 1
        elif source[place] == "\\":
            letters += _ESCAPES[source[place + 1]]
            place += 2
        else:
            letters += source[place]
            place += 1
    return [*parts, letters], place + 1


def _closing(source: str, place: int) -> int:
    depth, inside = 1, False
    while depth:
        character = source[place]
        inside ^= character == '"'
        depth += 0 if inside else (character == "(") - (character == ")")
        place += 1
    return place - 1
