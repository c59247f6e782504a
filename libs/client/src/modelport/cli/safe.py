"""Words of a stranger's checkpoint on a terminal: shown, never obeyed."""

import re

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Without control and direction characters; tabs and line ends stay."""
    return _COMMANDS.sub("", text)


class Shown:
    """Whatever it wraps, its own colours kept, its texts plain."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in console.render(self._inner, options):
            yield part if part.control else Segment(plain(part.text), part.style)
