"""As much of protobuf as it takes to find a few texts in a large message, without a schema and without copying weights."""

from collections.abc import Iterator, Sequence

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000


class ProtobufError(ValueError):
    """Bytes that are no protobuf message."""


def fields(message: memoryview, left: Iterator[int] | None = None) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that holds bytes; numbers are passed over. Each takes one from what is `left` of a limit."""
    at, end = 0, len(message)
    for _ in _limit() if left is None else left:
        if at >= end:
            return
        key, at = varint(message, at)
        size, wire = 0, key & 7
        if wire == VARINT:
            _, at = varint(message, at)
        elif wire == BYTES:
            size, at = varint(message, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ProtobufError(f"has a field of wire type {wire}")
        if at + size > end:
            raise ProtobufError("is cut off")
        if wire == BYTES:
            yield key >> 3, message[at : at + size]
        at += size
    raise ProtobufError(f"has more than {MAX_FIELDS} fields")


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ProtobufError("is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ProtobufError("has a number without end")


def _limit() -> Iterator[int]:
    return iter(range(MAX_FIELDS))


def _inside(message: memoryview, path: Sequence[int], left: Iterator[int]) -> Iterator[memoryview]:
    """All messages that are reached by following these field numbers."""
    if not path:
        yield message
        return
    for number, content in fields(message, left):
        if number == path[0]:
            yield from _inside(content, path[1:], left)


def pairs(message: memoryview, *path: int) -> dict[str, str]:
    """A map of texts, which protobuf writes as messages of a key, 1, and a value, 2; `path` leads to these.

    The limit is on all that is read together, so that messages in messages do not multiply it.
    """
    left = _limit()
    entries = (dict(fields(entry, left)) for entry in _inside(message, path, left))
    return {_text(entry.get(1)): _text(entry.get(2)) for entry in entries}


def _text(content: memoryview | None) -> str:
    return "" if content is None else bytes(content).decode("utf-8")
