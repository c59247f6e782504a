"""What differs between the metadata of two exports, part by part, in words that both sides have."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts import keys
from modelport.packages import sources
from modelport.packages.errors import PackageError

JSON_BYTES = 64 << 20
PARTS: dict[str, tuple[str, ...]] = {
    "model": ("model_info", "model_file", "precision", "portability"),
    "configuration": ("provenance.export_options", "provenance.optimization"),
    "made from": (
        "provenance.checkpoint_sha256",
        "provenance.route",
        "provenance.rewrites",
        "provenance.signing_key_id",
    ),
    "toolchain": ("provenance.toolchain",),
    "graph": ("graph",),
    "input and output": ("preprocessing", "postprocessing", "input_spec", "output_spec", "classes"),
    "metrics": ("parity", "sizes", "performance"),
    "wrappers": ("runtime_wrappers", "wrapper_proofs"),
    "files": ("files",),
}
"""The parts of a comparison, and which fields of metadata.json each consists of."""
LISTS = {"classes": "id", "files": "path", "parity.outputs": "name"}
"""Lists of things that have a name: compared by it, not by their place."""


class Difference(Struct, frozen=True, kw_only=True):
    """One value that differs; None on the side that has none."""

    part: str
    field: str
    before: object
    after: object


class Comparison(Struct, frozen=True, kw_only=True):
    """`before` and `after` are what was compared: ids of jobs or paths of packages."""

    before: str
    after: str
    differences: tuple[Difference, ...]


def metadata_of(package: Path) -> dict[str, object]:
    """metadata.json of a package, a zip or a folder; raises PackageError.

    It is not checked who made it: that is `verify`'s business.
    """
    with sources.opened(package) as source:
        return decoded(sources.whole(source, keys.METADATA, JSON_BYTES), str(package))


def decoded(data: bytes, where: str) -> dict[str, object]:
    """metadata.json as its values; raises PackageError unless it is one that this release reads."""
    try:
        return msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PackageError(f"{where}: metadata.json cannot be read: {error}.") from error


def compare(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[Difference, ...]:
    """Every value that differs, in the order of `PARTS` and within a part by name; what no part names is in `other`."""
    known = {name.partition(".")[0] for names in PARTS.values() for name in names}
    others = sorted({*before, *after} - known)
    parts = {**PARTS, "other": tuple(others)}
    return tuple(found for part, names in parts.items() for found in _of_part(part, names, before, after))


def _of_part(
    part: str, names: tuple[str, ...], before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Difference]:
    for name in names:
        one, other = dict(_leaves(name, _at(before, name))), dict(_leaves(name, _at(after, name)))
        for field in sorted({*one, *other}):
            if one.get(field) != other.get(field):
                yield Difference(part=part, field=field, before=one.get(field), after=other.get(field))


def _at(value: object, path: str) -> object:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    """The values below a field by their own paths; lists of numbers and names are values."""
    key = LISTS.get(path)
    if key and isinstance(value, list):
        value = {str(_at(each, key)): _without(each, key) for each in value}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif value is not None and value != []:
        yield path, value


def _without(value: object, key: str) -> object:
    return {name: inner for name, inner in value.items() if name != key} if isinstance(value, Mapping) else value
