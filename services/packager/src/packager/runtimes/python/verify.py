"""Repeats the package's golden vectors on this machine: `python verify.py`; exit code 0 only if all of it is the same.

Four questions: are the files those of metadata.json, does a picture become the same tensor, does the tensor become the same
outputs, and do outputs become the same predictions, alone and from the picture on.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from model_backends import Array
from model_wrapper import PACKAGE, ModelWrapper

from processing.masks import Mask

OUTPUT_TOLERANCE = 1e-3
"""Relative to the largest value of an output: other processors add up in another order."""
SETS = {
    "detr_softmax": 2,
    "detr_sigmoid": 2,
    "yolo_end2end": 1,
    "yolo_end2end_segment": 1,
    "yolo_end2end_pose": 1,
    "yolo_end2end_obb": 1,
}
"""Decoders of rows without an order, and how many outputs hold them: rows of nearly equal scores change places."""
REGIONS = {"semantic_logits"}
"""Decoders whose boxes hang on single pixels, so that masks alone are compared."""


class Tolerance(NamedTuple):
    """How far predictions may be apart."""

    confidence: float
    pixels: float
    mask: float
    """Of 1 - IoU."""


FLOAT32, LOWER = Tolerance(2e-3, 0.5, 0.02), Tolerance(1e-2, 1.0, 0.05)
"""Below float32, other processors round in other places."""


class Check(NamedTuple):
    """One comparison and what it found."""

    name: str
    passed: bool
    detail: str


def checks(package: Path) -> Iterator[Check]:
    """All checks of an unpacked package, in order."""
    model = ModelWrapper(None, package / "metadata.json")
    yield from file_checks(package, model.metadata)
    with np.load(package / "golden_vectors.npz", allow_pickle=False) as goldens:
        for number, text in enumerate(goldens["predictions"].tolist()):
            yield from picture_checks(model, goldens, number, json.loads(text))


def file_checks(package: Path, metadata: Mapping[str, Any]) -> Iterator[Check]:
    """Every file that metadata.json lists, against its SHA-256."""
    for entry in metadata["files"]:
        path = package / entry["path"]
        if not path.is_file():
            yield Check(f"file {entry['path']}", False, "missing")
            continue
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]
        yield Check(f"file {entry['path']}", same, "as listed" if same else "differs from metadata.json")


def picture_checks(model: ModelWrapper, goldens: Mapping[str, Array], number: int, expected: Any) -> Iterator[Check]:
    """One golden picture, stage by stage."""
    picture = goldens[f"image_{number}"]
    tensor, geometry = model.pipeline.preprocess(picture)
    same = bool(np.array_equal(tensor, goldens[f"tensor_{number}"]))
    yield Check(f"picture {number}: tensor", same, "equal to the bit" if same else "differs")

    names, decoder = model.pipeline.output_names, model.pipeline.post.decoder
    stored = {name: goldens[f"output_{number}__{name}"] for name in names}
    outputs = model.run(goldens[f"tensor_{number}"])
    rows = names[: SETS.get(decoder, 0)]
    if rows:
        difference = set_difference([outputs[name] for name in rows], [stored[name] for name in rows])
        yield Check(f"picture {number}: output {', '.join(rows)}", *within(difference))
    for name in names[len(rows) :]:
        yield Check(f"picture {number}: output {name}", *within(relative_difference(outputs[name], stored[name])))

    confidence, wanted = expected["confidence_threshold"], expected["predictions"]
    tolerance = FLOAT32 if model.metadata.get("precision", "fp32") == "fp32" else LOWER
    boxes = decoder not in REGIONS
    alone = [p.as_dict() for p in model.pipeline.postprocess(stored, geometry, confidence=confidence)]
    name = f"picture {number}: predictions of the stored outputs"
    yield compare(name, alone, wanted, confidence, FLOAT32, boxes=boxes)
    whole = model.predict_image(picture, confidence_threshold=confidence)
    name = f"picture {number}: predictions of the picture"
    yield compare(name, whole, wanted, confidence, tolerance, boxes=boxes)


def within(difference: float) -> tuple[bool, str]:
    """The verdict on an output."""
    return difference <= OUTPUT_TOLERANCE, f"{difference:.1e} apart"


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
    name: str,
    got: list[dict[str, Any]],
    expected: list[dict[str, Any]],
    threshold: float | None,
    tolerance: Tolerance,
    *,
    boxes: bool = True,
) -> Check:
    """Every prediction has its counterpart of the same class, all that belongs to it within the tolerances.

    One that is within tolerance of the threshold (for a classifier, of the end of its list) may be missing on either side,
    and so may a region of a thousandth of the picture.
    """
    rest, worst, alone = list(got), Tolerance(0.0, 0.0, 0.0), []
    for wanted in expected:
        same_class = [p for p in rest if p["class_id"] == wanted["class_id"]]
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
    return Check(name, passed, f"{len(got)} predictions for {len(expected)} expected, {told}")


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
    """Print one line a check."""
    parser = argparse.ArgumentParser(description="Compares this package's model with its golden vectors.")
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, help="the unpacked package")
    failed = total = 0
    for check in checks(parser.parse_args().package):
        total += 1
        failed += not check.passed
        print(f"{'pass' if check.passed else 'FAIL'}  {check.name}: {check.detail}")
    print(f"{total - failed} of {total} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
