"""A refusal names the field, the value and what works there, however deep it lies."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from contracts.mistakes import explain


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, kw_only=True, forbid_unknown_fields=True):
    colour: Colour
    size: Annotated[int, Meta(ge=1)] = 1


class Outer(Struct, kw_only=True, forbid_unknown_fields=True):
    mode: Literal["fast", "slow"] = "fast"
    inner: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Colour | None] = {}


RED = {"colour": "red"}
CASES = {
    "a field that is not there": (
        {"colour": "red"},
        "colour",
        "is not an option here; what works: mode, inner, many, named",
    ),
    "one further in": ({"inner": RED | {"x": 1}}, "inner.x", "is not an option here; what works: colour, size"),
    "a missing field": ({"inner": {}}, "inner.colour", "is missing; what works: red, blue"),
    "a word that is none": ({"inner": {"colour": "Red"}}, "inner.colour", "cannot be 'Red'; what works: red, blue"),
    "a literal": ({"mode": "x"}, "mode", "cannot be 'x'; what works: fast, slow"),
    "in a list": ({"many": [RED, {"colour": ""}]}, "many[1].colour", "cannot be ''; what works: red, blue"),
    "in a mapping": ({"named": {"a": "b"}}, "named[...]", "cannot be 'b'; what works: red, blue"),
    "another type": ({"inner": RED | {"size": "1"}}, "inner.size", "Expected `int`, got `str`"),
    "nothing like it": ([], "", "Expected `object`, got `array`"),
}


@pytest.mark.parametrize(("given", "field", "message"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("root", ["", "config"])
def test_a_mistake_is_told_with_its_place_and_what_works(given, field, message, root):
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(given, Outer)
    told = explain(refused.value, Outer, root)
    assert (told.field, told.message) == (".".join(part for part in (root, field) if part), message)
