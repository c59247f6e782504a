"""Mistakes that a package may hold, each as one change of what its metadata says: what it is, and a pipeline that makes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.geometry import CROP_OFFSETS, METHODS, Geometry, locate
from processing.kernels import REFERENCE, Picture
from processing.pipeline import Pipeline, Tensor, normalization_table
from processing.predictions import Prediction
from processing.spec import Normalize, Triple

ZEROS, ONES, HALVES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)
NORMALS: Mapping[str, tuple[float, Triple, Triple]] = {
    "bytes / 255": (1 / 255, ZEROS, ONES),
    "bytes as they are": (1.0, ZEROS, ONES),
    "ImageNet's mean and std": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean and std of 0.5": (1 / 255, HALVES, HALVES),
    "CLIP's mean and std": (1 / 255, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
FILLS = (0, 114, 127, 128, 255)
THRESHOLDS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7)
HALF = 0.5


class Change(NamedTuple):
    """One value that may be wrong: what it belongs to, what the metadata says, what it might be, and a pipeline that does that."""

    field: str
    now: str
    other: str
    pipeline: Pipeline


@dataclass(frozen=True)
class Unsuppressed(Pipeline):
    """Suppresses nothing, whatever is asked for."""

    def postprocess(
        self, outputs: Any, geometry: Geometry, *, iou: float | None = None, **asked: Any
    ) -> list[Prediction]:
        """As `Pipeline.postprocess` without an overlap threshold."""
        return Pipeline.postprocess(self, outputs, geometry, **asked)


@dataclass(frozen=True)
class Shifted(Pipeline):
    """Puts predictions back `step` pixels beside where they belong, pixels of the input or else of the source."""

    step: float = 0.0
    of_source: bool = False

    def postprocess(self, outputs: Any, geometry: Geometry, **asked: Any) -> list[Prediction]:
        """As `Pipeline.postprocess`, with another geometry."""
        gains = geometry.gain if self.of_source else (1.0, 1.0)
        offset: Any = tuple(at + self.step * gain for at, gain in zip(geometry.offset, gains, strict=True))
        return Pipeline.postprocess(self, outputs, Geometry(geometry.source, geometry.gain, offset), **asked)


@dataclass(frozen=True)
class FromCorners(Pipeline):
    """Resamples from the corners of pixels instead of their centres."""

    def preprocess(self, image: Picture) -> tuple[Tensor, Geometry]:
        """As `Pipeline.preprocess`, half a pixel beside it."""
        placement, geometry = locate((image.shape[0], image.shape[1]), self.resize)
        resized = _corners(image, placement.resized)
        canvas = np.full((*self.resize.size, 3), placement.fill, np.uint8)
        top, left = placement.top, placement.left
        cut = resized[max(-top, 0) : self.resize.size[0] - top, max(-left, 0) : self.resize.size[1] - left]
        top, left = max(top, 0), max(left, 0)
        canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
        return self.tensor(canvas), geometry


def _corners(image: Picture, size: tuple[int, int]) -> Picture:
    """Bilinear, with the first pixel of each side on the first of the other."""
    values: NDArray[Any] = image.astype(np.float64)
    for axis, (have, want) in enumerate(zip(image.shape[:2], size, strict=True)):
        places = np.minimum(np.arange(want) * (have / want), have - 1)
        low = places.astype(np.int64)
        part = (places - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        values = values.take(low, axis) * (1 - part) + values.take(np.minimum(low + 1, have - 1), axis) * part
    rounded: Picture = np.rint(values).astype(np.uint8)
    return rounded


def of_pictures(pipeline: Pipeline) -> Iterator[Change]:
    """What may be wrong between a picture and its tensor."""
    resize, form = pipeline.resize, pipeline.format
    options: list[tuple[str, str, Any]] = [
        *(("resize method", "method", method) for method in METHODS),
        *(("kernel", "kernel", kernel) for kernel in REFERENCE),
        *(("crop offset", "crop_offset", offset) for offset in CROP_OFFSETS),
        *(("fill value", "fill_value", fill) for fill in FILLS),
        *(("enlarging of small pictures", "scale_up", wanted) for wanted in (True, False)),
        *(("padding on both sides", "center", wanted) for wanted in (True, False)),
    ]
    colours = "BGR" if form.color_space == "RGB" else "RGB"
    yield Change(
        "colour order", form.color_space, colours, replace(pipeline, format=replace(form, color_space=colours))
    )
    for field, name, value in options:
        if (now := getattr(resize, name)) != value:
            changed = replace(resize, **{name: value})
            yield Change(field, str(now), str(value), replace(pipeline, resize=changed))
    layout = "NHWC" if form.layout == "NCHW" else "NCHW"
    yield Change("layout", form.layout, layout, replace(pipeline, format=replace(form, layout=layout)))
    for told, (scale, mean, std) in NORMALS.items():
        normal = Normalize(scale, mean, std, pipeline.normalize.embedded)
        if normal != pipeline.normalize:
            yield Change("normalisation", named(pipeline.normalize), told, normalised(pipeline, normal))


def normalised(pipeline: Pipeline, normal: Normalize) -> Pipeline:
    """The pipeline with another normalisation."""
    return replace(pipeline, normalize=normal, table=normalization_table(normal))


def named(normal: Normalize) -> str:
    """A normalisation by its usual name, or by its numbers."""
    for name, values in NORMALS.items():
        if values == (normal.scale, normal.mean, normal.std):
            return name
    return f"std {list(normal.std)} and mean {list(normal.mean)}"


def of_outputs(pipeline: Pipeline) -> Iterator[Change]:
    """What may be wrong between outputs and predictions."""
    post = pipeline.post
    if not post.detects:
        return
    whole, plain = vars(pipeline), replace(post, nms_enabled=False)
    ours = "per class" if not post.class_agnostic else "over all classes"
    theirs = "over all classes" if not post.class_agnostic else "per class"
    if post.nms_enabled:
        yield Change("suppression of boxes", f"NMS {ours}", "NMS dropped", Unsuppressed(**whole | {"post": plain}))
    else:
        now = replace(post, nms_enabled=True)
        yield Change("suppression of boxes", "NMS dropped", f"NMS {ours}", replace(pipeline, post=now))
    other = replace(post, class_agnostic=not post.class_agnostic)
    yield Change("suppression of boxes", f"NMS {ours}", f"NMS {theirs}", replace(pipeline, post=other))
    for step in (-HALF, HALF):
        for of_source in (False, True):
            shifted = Shifted(**whole, step=step, of_source=of_source)
            yield Change("place of boxes", "exact", "off by half a pixel", shifted)
    for value in THRESHOLDS:
        changed = replace(post, confidence=value)
        yield Change("confidence threshold", f"{post.confidence:g}", f"{value:g}", replace(pipeline, post=changed))
        changed = replace(post, iou=value)
        yield Change("overlap threshold", f"{post.iou:g}", f"{value:g}", replace(pipeline, post=changed))
