"""The whole way of one picture: RGB pixels to the model's tensor, and the model's outputs to predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing import objects, spec
from processing.decoders import Kind, Model
from processing.errors import ImageError, MetadataError, OptionError
from processing.geometry import Geometry, Resize, fit
from processing.kernels import Picture, lookup
from processing.predictions import Prediction
from processing.regions import regions

Tensor = NDArray[np.float32] | NDArray[np.uint8]


class Options(NamedTuple):
    """What a call asks for; None stands for what the metadata says."""

    confidence: float | None
    iou: float | None
    max_detections: int | None
    top_k: int | None


@dataclass(frozen=True)
class Pipeline:
    """What metadata.json says about one model, ready to run; safe to share between threads."""

    resize: Resize
    normalize: spec.Normalize
    format: spec.TensorFormat
    post: spec.Post
    classes: Mapping[int, str]
    input_name: str
    output_names: tuple[str, ...]
    model_file: str
    table: NDArray[np.float32] = field(repr=False, compare=False)
    """float32 [3, 256]: the normalised value of each byte, per channel in the tensor's colour order."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object]) -> Pipeline:
        """Read the dict of a metadata.json; raises MetadataError naming the field and what would work."""
        root = spec.Section(metadata, "")
        spec.check_version(root)
        pre = root.section("preprocessing")
        normalize, resize = spec.read_normalize(pre), spec.read_resize(pre)
        post, output_names = spec.read_post(root), spec.read_outputs(root)
        spec.check_decoder(post, resize, output_names)
        return cls(
            resize=resize,
            normalize=normalize,
            format=spec.read_format(pre, embedded=normalize.embedded),
            post=post,
            classes=spec.read_classes(root),
            input_name=root.section("input_spec").text("name"),
            output_names=output_names,
            model_file=root.text("model_file"),
            table=normalization_table(normalize),
        )

    def preprocess(self, image: Picture) -> tuple[Tensor, Geometry]:
        """uint8 RGB [H, W, 3] to the model's tensor of batch 1, and the geometry that `postprocess` needs.

        The tensor is float32 [1, 3, h, w] (or [1, h, w, 3] where the metadata says NHWC), uint8 where the graph normalises.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ImageError("image_unreadable", f"needs uint8 [H, W, 3], got {image.dtype} {image.shape}")
        fitted, geometry = fit(image, self.resize)
        return self.tensor(fitted), geometry

    def tensor(self, fitted: Picture) -> Tensor:
        """Colour order, normalisation and layout of a picture that already has the model's size."""
        reverse = self.format.color_space == "BGR"
        planar = self.format.layout == "NCHW"
        if self.normalize.embedded:
            pixels = fitted[..., ::-1] if reverse else fitted
            return np.ascontiguousarray(pixels.transpose(2, 0, 1) if planar else pixels)[None]
        out = np.empty((3, *fitted.shape[:2]), np.float32)
        lookup(fitted, self.table[::-1] if reverse else self.table, out[::-1] if reverse else out)
        return out[None] if planar else np.ascontiguousarray(out.transpose(1, 2, 0))[None]

    def postprocess(
        self,
        outputs: Mapping[str, NDArray[np.generic]],
        geometry: Geometry,
        *,
        confidence: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
        top_k: int | None = None,
    ) -> list[Prediction]:
        """The model's outputs, by name and of batch 1, to predictions, best first.

        Classification lists `top_k` classes. Objects are those whose score is above `confidence`, at most `max_detections`;
        `iou` suppresses, also behind a graph that suppresses itself (whose own thresholds bound what can be asked for) and
        behind one that has no need of it, such as DETR's. Semantic segmentation gives one prediction a class, the largest
        first, at most `max_detections`. Where the score is not what predictions are chosen by (classes, regions), a
        `confidence` given here leaves out those not above it. What is not given is the metadata's. Raises OptionError for an
        option out of range or without meaning for this model, MetadataError if the outputs are not as described, AnswerError
        for masks too large to be given.
        """
        options = Options(confidence, iou, max_detections, top_k)
        check_options(options, self.post.traits.kind)
        return POSTPROCESSES[self.post.traits.kind](self, self._raw(outputs), geometry, options)

    def _raw(self, outputs: Mapping[str, NDArray[np.generic]]) -> tuple[NDArray[np.generic], ...]:
        """The outputs that the decoder reads, in the order of `output_spec`."""
        names = self.output_names[: self.post.traits.outputs]
        for name in names:
            if name not in outputs:
                raise MetadataError("output_spec", f"the model gave {sorted(outputs)}, not {name!r}")
        return tuple(outputs[name] for name in names)

    def class_name(self, class_id: int) -> str:
        """The class's name; a class that the metadata does not list is called by its number."""
        return self.classes.get(class_id, str(class_id))


def normalization_table(normalize: spec.Normalize) -> NDArray[np.float32]:
    """float32 [3, 256]: `(float32(byte * scale) - mean) / std`.

    The product is taken in double precision and rounded once, which makes it equal, to the bit, to the division by 255 of
    torchvision, timm and Ultralytics; difference and quotient are float32.
    """
    scaled = (np.arange(256, dtype=np.float64) * normalize.scale).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None] for values in (normalize.mean, normalize.std))
    table: NDArray[np.float32] = (scaled[None, :] - mean) / std
    return table


Raw = tuple[NDArray[np.generic], ...]


def classes_of(pipeline: Pipeline, raw: Raw, geometry: Geometry, options: Options) -> list[Prediction]:
    """The likeliest classes of a picture."""
    scores = pipeline.post.traits.decode(*raw)
    best = np.argsort(-scores, kind="stable")[: options.top_k or pipeline.post.top_k]
    if options.confidence is not None:
        best = best[scores[best] > np.float32(options.confidence)]
    return [Prediction(int(i), pipeline.class_name(int(i)), float(scores[i])) for i in best]


def objects_of(pipeline: Pipeline, raw: Raw, geometry: Geometry, options: Options) -> list[Prediction]:
    """The objects in a picture, with what their task adds to a box."""
    post = pipeline.post
    model = Model(len(pipeline.classes), post.keypoint_shape, pipeline.resize.size)
    found = post.traits.decode(*raw, model, post.confidence if options.confidence is None else options.confidence)
    outside = post.nms_enabled and not post.nms_embedded
    overlap = options.iou if options.iou is not None else post.iou if outside else None
    limit = options.max_detections or post.max_detections
    is_rotated = post.traits.rotated
    kept = objects.choose(found, is_rotated=is_rotated, iou=overlap, limit=limit, agnostic=post.class_agnostic)
    return objects.predictions(found.take(kept), geometry, pipeline.class_name, is_rotated=is_rotated)


def regions_of(pipeline: Pipeline, raw: Raw, geometry: Geometry, options: Options) -> list[Prediction]:
    """The classes of a picture's pixels."""
    found = regions(pipeline.post.traits.decode(*raw), geometry.source)
    if options.confidence is not None:
        found = [region for region in found if region.confidence > options.confidence]
    return [
        Prediction(r.class_id, pipeline.class_name(r.class_id), r.confidence, r.bbox, mask=r.mask)
        for r in found[: options.max_detections or pipeline.post.max_detections]
    ]


POSTPROCESSES: Mapping[Kind, Callable[[Pipeline, Raw, Geometry, Options], list[Prediction]]] = {
    Kind.CLASSES: classes_of,
    Kind.OBJECTS: objects_of,
    Kind.REGIONS: regions_of,
}
MEANINGLESS: Mapping[Kind, Mapping[str, str]] = {
    Kind.CLASSES: {"iou_threshold": "is for detectors", "max_detections": "is for detectors; use top_k"},
    Kind.OBJECTS: {"top_k": "is for classifiers; use max_detections"},
    Kind.REGIONS: {"top_k": "is for classifiers; use max_detections", "iou_threshold": "is for detectors"},
}
"""Options that a kind of model cannot obey, and why."""


def check_options(options: Options, kind: Kind) -> None:
    """Raises OptionError for an option out of range, or one that means nothing for this kind of model."""
    check_fraction("confidence_threshold", options.confidence)
    check_fraction("iou_threshold", options.iou)
    check_count("max_detections", options.max_detections)
    check_count("top_k", options.top_k)
    given = {"iou_threshold": options.iou, "max_detections": options.max_detections, "top_k": options.top_k}
    for name, reason in MEANINGLESS[kind].items():
        if given[name] is not None:
            raise OptionError(name, reason)


def check_fraction(name: str, value: float | None) -> None:
    """Raises OptionError unless the value is absent or from 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise OptionError(name, f"must be from 0 to 1, not {value!r}")


def check_count(name: str, value: int | None) -> None:
    """Raises OptionError unless the value is absent or at least 1."""
    if value is not None and value < 1:
        raise OptionError(name, f"must be at least 1, not {value!r}")
