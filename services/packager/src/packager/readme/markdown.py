"""Markdown that shows what users named and does not obey it."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

_TEXT_SHOWN = 120
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#!|~$&@]|(?<=www)\.|:(?=//)", re.IGNORECASE)


def escape(text: object, limit: int = _TEXT_SHOWN) -> str:
    """One line of Markdown that shows the text literally: no markup, no HTML, no control or direction characters."""
    plain = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    plain = " ".join(plain.split())
    if len(plain) > limit:
        plain = plain[: limit - 1] + "…"
    return _MARKUP.sub(r"\\\g<0>", plain) or "(empty)"


def code_block(value: object) -> str:
    """A JSON block that its own content cannot close."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode().replace("`", "\\u0060")
    return f"```json\n{text}\n```"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Cells are escaped."""
    lines = [head, ["---"] * len(head), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
