"""Repeats the package's golden vectors on this machine: `python verify.py`; exit code 0 only if all of it is the same.

Five questions: are the files those of metadata.json, does a picture become the same tensor, do outputs become the same
predictions, does the model give the same outputs, and does all of it together give the same predictions of a picture.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from model_backends import Array
from model_wrapper import PACKAGE, ModelWrapper

from processing import goldens
from processing.errors import ProcessingError
from processing.geometry import locate
from processing.masks import Mask
from processing.pipeline import Pipeline

Json = Mapping[str, Any]


class Tolerance(NamedTuple):
    """How far predictions may be apart; `mask` is of 1 - IoU."""

    confidence: float
    pixels: float
    mask: float


class Check(NamedTuple):
    """One comparison and what it found; `subject` is the part of the package that answers for it."""

    subject: str
    name: str
    passed: bool
    detail: str


class Goldens(NamedTuple):
    """The vectors and the arrays that they name."""

    vectors: Json
    arrays: Mapping[str, Array]

    def tolerance(self, name: str) -> Tolerance:
        return Tolerance(**self.vectors["tolerances"][name])

    def compare(self, name: str, got: list[dict[str, Any]], vector: Json, threshold: float | None) -> tuple[bool, str]:
        """Predictions against those of a vector, within the tolerances of this name."""
        boxes = bool(self.vectors["boxes"])
        return compare(got, vector["predictions"], threshold, self.tolerance(name), boxes=boxes)


def checks(package: Path, *, with_model: bool = True) -> Iterator[Check]:
    """All checks of an unpacked package, in order; one that cannot be made has failed."""
    metadata = json.loads((package / "metadata.json").read_text(encoding="utf-8"))
    yield from file_checks(package, metadata)
    pipeline = Pipeline.from_metadata(metadata)
    given = Goldens(*goldens.read((package / "golden_vectors.safetensors").read_bytes()))
    for vector in given.vectors["preprocess"]:
        yield attempted("preprocess", vector["name"], partial(drawn_tensor, pipeline, vector))
    for vector in given.vectors["postprocess"]:
        yield attempted("postprocess", vector["name"], partial(decoded, pipeline, given, vector))
    if not with_model:
        return
    try:
        model = ModelWrapper(None, package / "metadata.json")
    except Exception as error:  # whatever a runtime raises: the answer is that the model does not load
        yield Check("model", "load", False, told(error))
        return
    for vector in given.vectors["model"]:
        yield from model_checks(model, given, vector)


def attempted(subject: str, name: str, ask: Callable[[], tuple[bool, str]]) -> Check:
    """The check, failed where asking raised."""
    try:
        return Check(subject, name, *ask())
    except Exception as error:  # a fault that is injected or found may raise anything
        return Check(subject, name, False, told(error))


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, ProcessingError) else str(error)


def file_checks(package: Path, metadata: Json) -> Iterator[Check]:
    """Every file that metadata.json lists, against its SHA-256."""
    for entry in metadata["files"]:
        path = package / entry["path"]
        if not path.is_file():
            yield Check("files", entry["path"], False, "missing")
            continue
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]
        yield Check("files", entry["path"], same, "as listed" if same else "differs from metadata.json")


def drawn_tensor(pipeline: Pipeline, vector: Json) -> tuple[bool, str]:
    """A drawn picture's tensor, to the bit."""
    picture = goldens.draw(vector["pattern"], vector["height"], vector["width"], vector["seed"])
    return same_tensor(pipeline.preprocess(picture)[0], vector["tensor"])


def same_tensor(tensor: Array, expected: Json) -> tuple[bool, str]:
    """Whether a tensor has the fingerprint; if not, the stored value that differs most."""
    got = goldens.fingerprint(tensor)
    if (got["dtype"], got["shape"]) != (expected["dtype"], expected["shape"]):
        return False, f"{got['dtype']} {got['shape']}, expected {expected['dtype']} {expected['shape']}"
    if got["crc32"] == expected["crc32"]:
        return True, "equal to the bit"
    found = {place: tensor.ravel()[place].item() for place, _ in expected["samples"]}
    place, value = max(expected["samples"], key=lambda sample: abs(found[sample[0]] - sample[1]))
    if found[place] != value:
        return False, f"value {place} is {found[place]!r}, expected {value!r}"
    return False, f"CRC-32 {got['crc32']}, expected {expected['crc32']}"


def decoded(pipeline: Pipeline, given: Goldens, vector: Json) -> tuple[bool, str]:
    """Stored outputs to predictions."""
    outputs = {name: given.arrays[array] for name, array in vector["outputs"].items()}
    height, width = vector["source"]
    asked = vector["options"]
    found = pipeline.postprocess(
        outputs,
        locate((height, width), pipeline.resize)[1],
        confidence=asked["confidence_threshold"],
        iou=asked["iou_threshold"],
        max_detections=asked["max_detections"],
        top_k=asked["top_k"],
    )
    return given.compare("decoded", [p.as_dict() for p in found], vector, threshold(pipeline, vector))


def threshold(pipeline: Pipeline, vector: Json) -> float | None:
    """The confidence above which predictions are chosen; None where the end of the list decides."""
    asked: float | None = vector["options"]["confidence_threshold"]
    return asked if asked is not None or not pipeline.post.detects else pipeline.post.confidence


def model_checks(model: ModelWrapper, given: Goldens, vector: Json) -> Iterator[Check]:
    """One stored picture, stage by stage."""
    name, pipeline = vector["name"], model.pipeline
    picture = given.arrays[vector["picture"]]
    yield attempted("preprocess", name, lambda: same_tensor(pipeline.preprocess(picture)[0], vector["tensor"]))
    yield attempted("model", name, lambda: same_outputs(model.run(pipeline.preprocess(picture)[0]), given, vector))

    def whole() -> tuple[bool, str]:
        found = model.predict(picture, confidence_threshold=vector["options"]["confidence_threshold"])
        return given.compare("predicted", [p.as_dict() for p in found], vector, threshold(pipeline, vector))

    yield attempted("predictions", name, whole)


def same_outputs(outputs: Mapping[str, Array], given: Goldens, vector: Json) -> tuple[bool, str]:
    """The model's outputs against the stored values; rows of a set in any order."""
    allowed, worst = given.vectors["tolerances"]["output"], 0.0
    got, stored = {}, {}
    for name, place in vector["outputs"].items():
        if list(outputs[name].shape) != place["shape"]:
            return False, f"{name} has the shape {list(outputs[name].shape)}, expected {place['shape']}"
        if not np.isfinite(outputs[name]).all():
            return False, f"{name} holds values that are not finite"
        got[name] = np.ascontiguousarray(outputs[name]).ravel()[:: place["stride"]]
        stored[name] = given.arrays[place["array"]]
    rows = vector["rows"]
    if rows:
        shapes = {name: vector["outputs"][name]["shape"] for name in rows}
        parts = ([values[name].reshape(shapes[name]) for name in rows] for values in (got, stored))
        worst = set_difference(*parts)
    for name in got.keys() - set(rows):
        worst = max(worst, relative_difference(got[name], stored[name]))
    return worst <= allowed, f"{worst:.1e} apart, {allowed:g} is allowed"


def relative_difference(got: Array, expected: Array) -> float:
    """Largest absolute difference over the largest absolute value; infinite for another shape."""
    if got.shape != expected.shape:
        return float("inf")
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0)
    return float(difference / max(float(np.abs(expected).max(initial=0.0)), 1e-12))


def set_difference(got: list[Array], expected: list[Array]) -> float:
    """Like `relative_difference`, for rows in any order that several outputs [1, rows, …] hold together."""
    if [part.shape for part in got] != [part.shape for part in expected]:
        return float("inf")
    scales = [max(float(np.abs(part).max(initial=0.0)), 1e-12) for part in expected]
    a, b = (
        np.concatenate([part[0].astype(np.float64) / scale for part, scale in zip(parts, scales, strict=True)], axis=1)
        for parts in (got, expected)
    )
    nearest_a, nearest_b = np.full(len(a), np.inf), np.full(len(b), np.inf)
    for row, values in enumerate(a):
        apart = np.abs(b - values).max(axis=1)
        nearest_a[row] = apart.min(initial=np.inf)
        np.minimum(nearest_b, apart, out=nearest_b)
    return float(max(nearest_a.max(initial=0.0), nearest_b.max(initial=0.0)))


def compare(
    got: list[dict[str, Any]],
    expected: list[dict[str, Any]],
    threshold: float | None,
    tolerance: Tolerance,
    *,
    boxes: bool = True,
) -> tuple[bool, str]:
    """Every prediction has its counterpart of the same class, all that belongs to it within the tolerances.

    One that is within tolerance of the threshold (for a classifier, of the end of its list) may be missing on either side,
    and so may a region of a thousandth of the picture.
    """
    rest, worst, alone = list(got), Tolerance(0.0, 0.0, 0.0), []
    for wanted in expected:
        same_class = [p for p in rest if (p["class_id"], p["class_name"]) == (wanted["class_id"], wanted["class_name"])]
        if not same_class:
            alone.append(wanted)
            continue
        apart = [distance(wanted, found, boxes=boxes) for found in same_class]
        nearest = min(range(len(apart)), key=lambda i: (apart[i].pixels, apart[i].mask, apart[i].confidence))
        rest.remove(same_class[nearest])
        worst = Tolerance(*map(max, worst, apart[nearest]))
    floor = threshold if threshold is not None else min((p["confidence"] for p in expected), default=0.0)
    alone = [p for p in alone + rest if p["confidence"] > floor + tolerance.confidence and not is_speck(p)]
    passed = not alone and all(found <= allowed for found, allowed in zip(worst, tolerance, strict=True))
    told = f"confidence {worst.confidence:.1e}, {worst.pixels:.1e} pixels, masks {worst.mask:.1e} apart"
    if alone:
        told += f"; without counterpart: {alone[0]['class_name']} {alone[0]['confidence']:.3f}"
    return passed, f"{len(got)} predictions for {len(expected)} expected, {told}"


def distance(a: dict[str, Any], b: dict[str, Any], *, boxes: bool = True) -> Tolerance:
    """The differences of two predictions; of a rotated box, the farthest corner's."""
    pairs = [(a["bbox"], b["bbox"])] if boxes and a["bbox"] and b["bbox"] else []
    if "rotated_box" in a:
        pairs = [(a["rotated_box"][:2], b["rotated_box"][:2])]
    pairs += [(x[:2], y[:2]) for x, y in zip(a.get("keypoints", ()), b.get("keypoints", ()), strict=True)]
    pixels = max((abs(x - y) for one, other in pairs for x, y in zip(one, other, strict=True)), default=0.0)
    if "rotated_box" in a:
        pixels = max(pixels, *(abs(x - y) for x, y in zip(a["bbox"], b["bbox"], strict=True)))
    apart = 0.0
    if "mask" in a:
        one, other = (Mask(tuple(p["mask"]["size"]), tuple(p["mask"]["counts"])).array() for p in (a, b))
        apart = 1 - float((one & other).sum()) / max(float((one | other).sum()), 1.0)
    return Tolerance(abs(a["confidence"] - b["confidence"]), pixels, apart)


def is_speck(prediction: dict[str, Any]) -> bool:
    """Whether it is a mask of less than a thousandth of the picture."""
    if "mask" not in prediction:
        return False
    height, width = prediction["mask"]["size"]
    return bool(sum(prediction["mask"]["counts"][1::2]) < height * width / 1000)


def main() -> int:
    """Print one line a check, or all of it as JSON."""
    parser = argparse.ArgumentParser(description="Compares this package's model with its golden vectors.")
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, help="the unpacked package")
    parser.add_argument("--without-model", action="store_true", help="only what comes before and after the model")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    asked = parser.parse_args()
    failed = total = 0
    for check in checks(asked.package, with_model=not asked.without_model):
        total += 1
        failed += not check.passed
        verdict = "pass" if check.passed else "FAIL"
        line = json.dumps(check._asdict()) if asked.json else f"{verdict}  {check.subject} {check.name}: {check.detail}"
        print(line, flush=True)
    if not asked.json:
        print(f"{total - failed} of {total} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
