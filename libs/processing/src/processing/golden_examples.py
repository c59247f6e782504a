"""What golden_vectors.safetensors holds for one model: made here, by the pre- and post-processing that every wrapper is held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing import golden_outputs, goldens
from processing.decoders import Kind
from processing.errors import ImageError
from processing.geometry import locate
from processing.pipeline import Pipeline

Array = NDArray[Any]
Json = dict[str, Any]

DRAWN: tuple[tuple[int, int], ...] = (
    # (height, width): tiny, one pixel wide, square, odd, exact halves of usual inputs, long and thin, huge
    (1, 1), (1, 64), (64, 1), (2, 2), (3, 2), (1, 777), (777, 1), (5, 5), (7, 300), (300, 7), (17, 29), (29, 17),
    (32, 32), (33, 33), (64, 64), (63, 65), (96, 96), (97, 131), (128, 128), (224, 224), (225, 225), (255, 257),
    (240, 320), (320, 240), (320, 320), (333, 251), (448, 448), (480, 640), (640, 640), (641, 639), (720, 1280),
    (1280, 1280), (1080, 1920), (1920, 1080), (31, 2048), (3000, 4000),
)  # fmt: skip
STORED_VALUES = 1 << 16
"""Of one output of one picture: enough to see any fault, few enough to travel in every package."""
OUTPUT_TOLERANCE = 1e-3
"""Relative to the largest value of an output: other processors add up in another order."""


class Apart(NamedTuple):
    """How far predictions may be apart; `mask` is of 1 - IoU."""

    confidence: float
    pixels: float
    mask: float


DECODED = Apart(1e-4, 0.05, 0.02)
"""From the very same outputs: what exp, sine and sums of float32 differ by between languages."""


class Run(NamedTuple):
    """A picture uint8 RGB [H, W, 3] and what the model gave for it, by name."""

    picture: NDArray[np.uint8]
    outputs: Mapping[str, Array]


def make(pipeline: Pipeline, runs: Sequence[Run], predicted: Apart, low: float) -> bytes:
    """The file's bytes; `predicted` is how far the predictions of a picture may be apart on another machine.

    Predictions are those at the metadata's default thresholds, or above the confidence `low` if the defaults let nothing through.
    """
    confidence = _confidence(pipeline, runs, low)
    arrays: dict[str, Array] = {}
    vectors = {
        "schema_version": goldens.SCHEMA_VERSION,
        "boxes": pipeline.post.traits.kind is not Kind.REGIONS,
        "tolerances": {
            "output": OUTPUT_TOLERANCE,
            "decoded": DECODED._asdict(),
            "predicted": predicted._asdict(),
        },
        "preprocess": list(_preprocess(pipeline)),
        "postprocess": list(_postprocess(pipeline, runs, confidence, arrays)),
        "model": [_model(pipeline, run, confidence, number, arrays) for number, run in enumerate(runs)],
    }
    return goldens.write(vectors, arrays)


def _preprocess(pipeline: Pipeline) -> Iterator[Json]:
    """Drawn pictures, but for those so long and thin that this model refuses them."""
    for seed, (height, width) in enumerate(DRAWN):
        pattern = "noise" if seed % 2 else "ramp"
        try:
            tensor, _ = pipeline.preprocess(goldens.draw(pattern, height, width, seed))
        except ImageError:
            continue
        yield {
            "name": f"{pattern} {height} x {width}",
            "pattern": pattern,
            "height": height,
            "width": width,
            "seed": seed,
            "tensor": goldens.fingerprint(tensor),
        }


def _postprocess(
    pipeline: Pipeline, runs: Sequence[Run], confidence: float | None, arrays: dict[str, Array]
) -> Iterator[Json]:
    """Outputs cut down to a few candidates, as they would be of pictures of many sizes, with options in turn."""
    kind = pipeline.post.traits.kind
    for number, run in enumerate(runs):
        thin = golden_outputs.thinned(pipeline, run.outputs)
        for variant, source in enumerate(golden_outputs.SOURCES[kind]):
            outputs = golden_outputs.turned(kind, variant, thin)
            names = {name: f"decoded_{number}_{variant if outputs is not thin else 0}__{name}" for name in outputs}
            arrays.update({names[name]: value for name, value in outputs.items()})
            options = golden_outputs.options(kind, variant, confidence)
            found = pipeline.postprocess(
                outputs,
                locate(source, pipeline.resize)[1],
                confidence=options["confidence_threshold"],
                iou=options["iou_threshold"],
                max_detections=options["max_detections"],
                top_k=options["top_k"],
            )
            yield {
                "name": f"outputs {number} of {source[0]} x {source[1]}, variant {variant}",
                "source": list(source),
                "options": options,
                "outputs": names,
                "predictions": [prediction.as_dict() for prediction in found],
            }


def _model(pipeline: Pipeline, run: Run, confidence: float | None, number: int, arrays: dict[str, Array]) -> Json:
    tensor, geometry = pipeline.preprocess(run.picture)
    arrays[f"picture_{number}"] = run.picture
    outputs = {}
    for name, value in run.outputs.items():
        stride = -(-value.size // STORED_VALUES)
        arrays[f"output_{number}__{name}"] = np.ascontiguousarray(value).ravel()[::stride]
        outputs[name] = {"array": f"output_{number}__{name}", "stride": stride, "shape": list(value.shape)}
    options = golden_outputs.options(pipeline.post.traits.kind, 0, confidence)
    found = pipeline.postprocess(run.outputs, geometry, confidence=confidence)
    return {
        "name": f"picture {number}",
        "picture": f"picture_{number}",
        "tensor": goldens.fingerprint(tensor),
        "outputs": outputs,
        "rows": list(pipeline.output_names[: golden_outputs.ROWS.get(pipeline.post.decoder, 0)]),
        "options": options,
        "predictions": [prediction.as_dict() for prediction in found],
    }


def _confidence(pipeline: Pipeline, runs: Sequence[Run], low: float) -> float | None:
    """What to ask for: nothing, so that the metadata's own threshold is tried too, unless that lets nothing through."""
    if not pipeline.post.detects:
        return None
    found = (pipeline.postprocess(run.outputs, pipeline.preprocess(run.picture)[1]) for run in runs)
    return None if any(found) else low
