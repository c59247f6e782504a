"""Looks for the mistake that explains a failed `verify`: `python faults.py PACKAGE CHECKS`, the answer as JSON on the last line.

Run in a sandbox beside `verify.py` and `processing`, which are the reference. If the golden vectors fit a change and not the metadata,
the metadata is wrong; if they fit the metadata, and what the wrapper said fits a change, the wrapper does that. Numpy and the standard
library only.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from changes import Change, FromCorners, of_outputs, of_pictures
from verify import Goldens, decoded, same_tensor

from processing import goldens
from processing.errors import ProcessingError
from processing.pipeline import Pipeline
from processing.spec import Normalize

LARGEST = 1 << 17
"""Pixels of a picture that is tried: enough shapes are smaller."""
TRIED = 12
NEAR_LEVELS = 24
"""Of 255: how far resampling by another's fixed-point arithmetic may be from ours, on noise."""
ENOUGH = 4
_SAID = re.compile(r"value (\d+) is (\S+), expected")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")

Json = Mapping[str, Any]
Drawn = list[tuple[Json, np.ndarray[Any, np.dtype[np.uint8]]]]


class Fault(NamedTuple):
    """A mistake by name, and how it shows."""

    name: str
    sentence: str


def find(package: Path, failed: Sequence[Json]) -> Fault | None:
    """The first mistake that explains the failed checks; None where none does."""
    metadata = json.loads((package / "metadata.json").read_text(encoding="utf-8"))
    wrong: dict[str, dict[str, str]] = {}
    for check in failed:
        wrong.setdefault(check["subject"], {})[check["name"]] = check["detail"]
    if "files" in wrong:
        return Fault("changed file", f"{next(iter(wrong['files']))} is not the one that metadata.json lists")
    pipeline = Pipeline.from_metadata(metadata)
    given = Goldens(*goldens.read((package / "golden_vectors.safetensors").read_bytes()))
    if "preprocess" in wrong:
        return of_tensors(pipeline, given, wrong["preprocess"])
    if "postprocess" in wrong:
        return of_predictions(pipeline, given, wrong["postprocess"])
    return of_model(wrong.get("model", {}))


def of_model(wrong: Mapping[str, str]) -> Fault | None:
    """What the model's own checks say; before and after it everything is as it should be."""
    if "load" in wrong:
        return Fault("truncated or unreadable model", f"its runtime cannot load it: {wrong['load']}")
    if any("not finite" in detail for detail in wrong.values()):
        return Fault("NaN weights", "the model answers with values that are not finite")
    if wrong:
        return Fault(
            "other weights", "the model's outputs are not those of the model that was compared with its source"
        )
    return None


def of_tensors(pipeline: Pipeline, given: Goldens, wrong: Mapping[str, str]) -> Fault | None:
    """Why tensors differ."""
    drawn = _drawn(given, wrong)
    if all(_fits(pipeline, picture, vector) for vector, picture in drawn):
        return _in_wrapper_of_tensors(pipeline, drawn, wrong)
    for change in of_pictures(pipeline):
        if all(_fits(change.pipeline, picture, vector) for vector, picture in drawn):
            return in_metadata(change)
    wanted = ((vector, place, value) for vector, _ in drawn for place, value in vector["tensor"]["samples"])
    other = _other_normalisation(pipeline, drawn, wanted)
    if other is None:
        return None
    return Fault(f"wrong {other[0]}", f"metadata.json says {other[1]}, the golden vectors were made with {other[2]}")


def _in_wrapper_of_tensors(pipeline: Pipeline, drawn: Drawn, wrong: Mapping[str, str]) -> Fault | None:
    failed = [(vector, picture) for vector, picture in drawn if vector["name"] in wrong]
    for change in of_pictures(pipeline):
        if all(_answer(change.pipeline, picture, vector)[1] == wrong[vector["name"]] for vector, picture in failed):
            return in_wrapper(change)
    said = [
        (vector, int(found[1]), float(found[2]))
        for vector, _ in failed
        if (found := _SAID.match(wrong[vector["name"]])) is not None
    ]
    if _is_near(FromCorners(**vars(pipeline)), drawn, said):
        return Fault("off by half a pixel", "the wrapper resamples from the corners of pixels instead of their centres")
    other = _other_normalisation(pipeline, drawn, iter(said))
    return other and Fault(f"wrong {other[0]}", f"the wrapper computes with {other[2]}, metadata.json says {other[1]}")


def of_predictions(pipeline: Pipeline, given: Goldens, wrong: Mapping[str, str]) -> Fault | None:
    """Why outputs become other predictions."""
    vectors = given.vectors["postprocess"]
    if not all(_decoded(pipeline, given, vector)[0] for vector in vectors):
        for change in of_outputs(pipeline):
            if all(_decoded(change.pipeline, given, vector)[0] for vector in vectors):
                return in_metadata(change)
        return _swapped_names(pipeline, vectors)
    failed = [vector for vector in vectors if vector["name"] in wrong]
    for change in of_outputs(pipeline):
        told = ((_decoded(change.pipeline, given, vector), wrong[vector["name"]]) for vector in failed)
        if all(not passed and _is_alike(detail, said) for (passed, detail), said in told):
            return in_wrapper(change)
    return None


def in_metadata(change: Change) -> Fault:
    """The vectors were made otherwise than the metadata says."""
    sentence = f"metadata.json says {change.field} {change.now}, the golden vectors were made with {change.other}"
    return Fault(_name(change.now, change.other), sentence)


def in_wrapper(change: Change) -> Fault:
    """The wrapper does otherwise than the metadata says."""
    sentence = f"the wrapper's {change.field} is {change.other}, metadata.json says {change.now}"
    return Fault(_name(change.other, change.now), sentence)


def _name(wrong: str, right: str) -> str:
    return wrong if right == "exact" else f"{wrong} instead of {right}"


def _drawn(given: Goldens, wrong: Mapping[str, str]) -> Drawn:
    """Pictures of many shapes, those that failed first, none so large that trying them takes long."""
    vectors = [one for one in given.vectors["preprocess"] if one["height"] * one["width"] <= LARGEST]
    vectors.sort(key=lambda one: (one["name"] not in wrong, -one["height"] * one["width"]))
    return [(one, goldens.draw(one["pattern"], one["height"], one["width"], one["seed"])) for one in vectors[:TRIED]]


def _fits(pipeline: Pipeline, picture: Any, vector: Json) -> bool:
    return _answer(pipeline, picture, vector)[0]


def _answer(pipeline: Pipeline, picture: Any, vector: Json) -> tuple[bool, str]:
    """What `verify` would say of this pipeline."""
    try:
        return same_tensor(pipeline.preprocess(picture)[0], vector["tensor"])
    except ProcessingError as error:
        return False, str(error)


def _decoded(pipeline: Pipeline, given: Goldens, vector: Json) -> tuple[bool, str]:
    try:
        return decoded(pipeline, given, vector)
    except ProcessingError as error:
        return False, str(error)


def _is_near(pipeline: Pipeline, drawn: Drawn, said: Sequence[tuple[Json, int, float]]) -> bool:
    """Whether what the wrapper said is what this pipeline computes, within a few levels of a byte."""
    pictures = {vector["name"]: picture for vector, picture in drawn}
    level = float(np.diff(pipeline.table, axis=1).max()) if not pipeline.normalize.embedded else 1.0
    apart = [
        abs(float(pipeline.preprocess(pictures[vector["name"]])[0].ravel()[place]) - value) / level
        for vector, place, value in said
    ]
    return len(apart) >= ENOUGH and max(apart) <= NEAR_LEVELS


def _other_normalisation(
    pipeline: Pipeline, drawn: Drawn, values: Iterator[tuple[Json, int, float]]
) -> tuple[str, str, str] | None:
    """Whether values are ours times a number plus a number for each channel: what differs, ours, theirs.

    A channel of which too little is known is taken to be like the first one that is.
    """
    tensors = {vector["name"]: pipeline.preprocess(picture)[0] for vector, picture in drawn}
    pairs: dict[int, list[tuple[float, float]]] = {}
    for vector, place, value in values:
        tensor = tensors[vector["name"]]
        axis = 1 if pipeline.format.layout == "NCHW" else 3
        channel = int(np.unravel_index(place, tensor.shape)[axis])
        pairs.setdefault(channel, []).append((float(tensor.ravel()[place]), value))
    lines: dict[int, tuple[float, float]] = {}
    for channel, known in pairs.items():
        ours, theirs = np.array(known).T
        if len(ours) < ENOUGH or np.ptp(ours) == 0.0:
            continue
        slope, shift = np.polyfit(ours, theirs, 1)
        if slope == 0.0 or np.abs(slope * ours + shift - theirs).max() > 1e-3 * max(np.ptp(theirs), 1e-9):
            return None
        lines[channel] = (float(slope), float(shift))
    if not lines:
        return None
    first, normal = lines[min(lines)], pipeline.normalize
    each = [
        (std, mean, *lines.get(i, first)) for i, (std, mean) in enumerate(zip(normal.std, normal.mean, strict=True))
    ]
    stds = [round(std / slope, 4) for std, _, slope, _ in each]
    means = [round(mean - shift * std / slope, 4) for std, mean, slope, shift in each]
    return _difference(normal, stds, means)


def _difference(normal: Normalize, stds: list[float], means: list[float]) -> tuple[str, str, str]:
    if np.allclose(stds, normal.std, rtol=1e-3):
        return "mean", f"mean {list(normal.mean)}", f"mean {means}"
    return "std", f"std {list(normal.std)}", f"std {stds}"


def _swapped_names(pipeline: Pipeline, vectors: Sequence[Json]) -> Fault | None:
    """Whether the vectors call classes otherwise than the metadata."""
    called = {p["class_id"]: p["class_name"] for vector in vectors for p in vector["predictions"]}
    other = {number: name for number, name in called.items() if pipeline.classes.get(number) != name}
    if not other:
        return None
    number, name = next(iter(other.items()))
    what = "swapped class names" if set(other.values()) <= set(pipeline.classes.values()) else "other class names"
    sentence = f"metadata.json calls class {number} {pipeline.class_name(number)!r}, the golden vectors {name!r}"
    return Fault(what, sentence)


def _is_alike(one: str, other: str) -> bool:
    """Whether two details say the same, but for the last digits of their numbers."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    numbers = zip(map(float, _NUMBER.findall(one)), map(float, _NUMBER.findall(other)), strict=True)
    return all(abs(a - b) <= max(2e-3, 0.02 * abs(b)) for a, b in numbers)


def main(arguments: list[str]) -> None:
    """Say what was found, or nothing."""
    package, question = map(Path, arguments)
    fault = find(package, json.loads(question.read_text(encoding="utf-8")))
    if fault is not None:
        sys.stdout.write(json.dumps(fault) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
