"""Swift sources read by their grammar, which is all that can be said of them where no compiler is."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import tree_sitter
import tree_sitter_swift

_LANGUAGE = tree_sitter.Language(tree_sitter_swift.language())
_SHOWN = 60


class Problem(NamedTuple):
    """A place that is no Swift; `line` counts from 1."""

    path: str
    line: int
    text: str


def parse(sources: Mapping[str, bytes]) -> list[Problem]:
    """What is wrong with the grammar of sources, by their paths; nothing is said of names and types."""
    return [problem for path, source in sorted(sources.items()) for problem in _problems(path, source)]


def tree(source: bytes) -> tree_sitter.Tree:
    """The syntax tree of one file."""
    return tree_sitter.Parser(_LANGUAGE).parse(source)


def _problems(path: str, source: bytes) -> Iterator[Problem]:
    nodes = [tree(source).root_node]
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            text = node.type if node.is_missing else source[node.start_byte : node.end_byte].decode(errors="replace")
            yield Problem(path, node.start_point.row + 1, text[:_SHOWN])
        elif node.has_error:
            nodes += reversed(node.children)
