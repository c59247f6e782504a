"""Class names as lines: labels.txt, beside a model and inside those formats that keep one."""

from collections.abc import Mapping

from contracts.errors import Permanent

MAX_LABELS = 32_768


def labels(names: Mapping[int, str]) -> list[str]:
    """A line for each class from 0 to the highest, so that the line's number is the class.

    A number that no class has, and a class without a visible name, is a line of the number itself: programs leave out empty
    lines, after which every class would have its neighbour's name. Names hold no line breaks (`model_package.PRINTABLE`).
    Raises Permanent("packaging_failed") for a class beyond `MAX_LABELS`.
    """
    highest = max(names, default=-1)
    if highest >= MAX_LABELS:
        raise Permanent("packaging_failed", f"class {highest} has no place in a list of {MAX_LABELS} labels.")
    return [names[number] if names.get(number, "").strip() else str(number) for number in range(highest + 1)]


def as_text(names: Mapping[int, str]) -> str:
    """labels.txt."""
    return "".join(f"{line}\n" for line in labels(names))


def words(names: Mapping[int, str]) -> list[str]:
    """`labels` without spaces, for formats that keep them in one text with spaces between them."""
    return ["_".join(name.split()) for name in labels(names)]
