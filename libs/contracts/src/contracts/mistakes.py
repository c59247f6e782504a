"""What is wrong with a value that msgspec refused: the field, and in words what works there."""

import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

from contracts.errors import FieldError

_STEP = re.compile(r"\.(\w+)|\[(?:\.{3}|\d+)\]")
_NAMED = re.compile(r"(unknown|missing required) field `([^`]+)`")
_NO_VALUE = re.compile(r"Invalid enum value (.+)", re.DOTALL)
_SHOWN = 100


def explain(error: msgspec.ValidationError, kind: object, root: str = "") -> FieldError:
    """The mistake in a value that was to become a `kind`; its path begins with `root`, which is empty for a whole body."""
    message, _, place = str(error).partition(" - at `$")
    path = place.rstrip("`")
    if named := _NAMED.search(message):
        how, name = named.groups()
        inside = "is not an option here" if how == "unknown" else "is missing"
        works = _fields(kind, path) if how == "unknown" else _values(kind, f"{path}.{name}")
        return FieldError(_joined(root, f"{path}.{name}"), _told(inside, works))
    if refused := _NO_VALUE.fullmatch(message):
        message = _told(f"cannot be {refused[1][:_SHOWN]}", _values(kind, path))
    return FieldError(_joined(root, path), message)


def _joined(root: str, path: str) -> str:
    return f"{root}{path}".lstrip(".")


def _told(sentence: str, works: list[str]) -> str:
    return f"{sentence}; what works: {', '.join(works)}" if works else sentence


def _fields(kind: object, path: str) -> list[str]:
    """The names of the fields of the struct at a path."""
    return [field.encode_name for one in _at(kind, path) if isinstance(one, inspect.StructType) for field in one.fields]


def _values(kind: object, path: str) -> list[str]:
    """What may stand at a path, where that is a list of words; empty elsewhere."""
    found: list[str] = []
    for one in _at(kind, path):
        if isinstance(one, inspect.EnumType):
            found += [str(member.value) for member in one.cls]
        elif isinstance(one, inspect.LiteralType):
            found += [str(value) for value in one.values]
    return found


def _at(kind: object, path: str) -> list[inspect.Type]:
    """The types that a value at a path may have."""
    types = list(_alternatives(inspect.type_info(kind)))
    for step in _STEP.finditer(path):
        types = [inner for one in types for below in _below(one, step[1]) for inner in _alternatives(below)]
    return types


def _below(outer: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    match outer:
        case inspect.StructType():
            yield from (field.type for field in outer.fields if field.encode_name == name)
        case inspect.DictType():
            yield outer.value_type
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            yield outer.item_type


def _alternatives(one: inspect.Type) -> Iterator[inspect.Type]:
    match one:
        case inspect.UnionType():
            for inner in one.types:
                yield from _alternatives(inner)
        case inspect.Metadata():
            yield from _alternatives(one.type)
        case _:
            yield one
