"""Repeats the package's golden vectors on this machine: `python verify.py`; exit code 0 only if all of it is the same.

Four questions: are the files those of metadata.json, does a picture become the same tensor, does the tensor become the same
outputs, and do outputs become the same predictions, alone and from the picture on.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from model_wrapper import PACKAGE, Array, ModelWrapper

OUTPUT_TOLERANCE = 1e-3
"""Relative to the largest value of an output: other processors add up in another order."""
CONFIDENCE_TOLERANCE = 2e-3
PIXEL_TOLERANCE = 0.5


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

    names = model.pipeline.output_names
    stored = {name: goldens[f"output_{number}__{name}"] for name in names}
    outputs = model.run(goldens[f"tensor_{number}"])
    for name in names:
        difference = relative_difference(outputs[name], stored[name])
        yield Check(f"picture {number}: output {name}", difference <= OUTPUT_TOLERANCE, f"{difference:.1e} apart")

    confidence = expected["confidence_threshold"]
    alone = [p.as_dict() for p in model.pipeline.postprocess(stored, geometry, confidence=confidence)]
    yield compare(f"picture {number}: predictions of the stored outputs", alone, expected["predictions"], confidence)
    whole = model.predict_image(picture, confidence_threshold=confidence)
    yield compare(f"picture {number}: predictions of the picture", whole, expected["predictions"], confidence)


def relative_difference(got: Array, expected: Array) -> float:
    """Largest absolute difference over the largest absolute value; infinite for another shape."""
    if got.shape != expected.shape:
        return float("inf")
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0)
    return float(difference / max(float(np.abs(expected).max(initial=0.0)), 1e-12))


def compare(name: str, got: list[dict[str, Any]], expected: list[dict[str, Any]], threshold: float | None) -> Check:
    """Every prediction has its counterpart of the same class, confidences and boxes within the tolerances.

    One that is within tolerance of the threshold (for a classifier, of the end of its list) may be missing on either side.
    """
    rest, confidence, pixels, alone = list(got), 0.0, 0.0, []
    for wanted in expected:
        same_class = [p for p in rest if p["class_id"] == wanted["class_id"]]
        if not same_class:
            alone.append(wanted)
            continue
        nearest = min(same_class, key=partial(distance, wanted))
        rest.remove(nearest)
        pixels = max(pixels, distance(wanted, nearest)[0])
        confidence = max(confidence, distance(wanted, nearest)[1])
    floor = threshold if threshold is not None else min((p["confidence"] for p in expected), default=0.0)
    alone = [p for p in alone + rest if p["confidence"] > floor + CONFIDENCE_TOLERANCE]
    passed = not alone and confidence <= CONFIDENCE_TOLERANCE and pixels <= PIXEL_TOLERANCE
    found = f"{len(got)} predictions for {len(expected)} expected"
    return Check(name, passed, f"{found}, confidence {confidence:.1e}, boxes {pixels:.1e} pixels apart")


def distance(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float]:
    """Largest difference of the boxes in pixels, and the difference of the confidences."""
    pixels = max((abs(x - y) for x, y in zip(a["bbox"] or (), b["bbox"] or (), strict=True)), default=0.0)
    return pixels, abs(a["confidence"] - b["confidence"])


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
