"""The whole way of one picture: RGB pixels to the model's tensor, and the model's outputs to predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing import nms, spec
from processing.decoders import CLASSIFIERS, DETECTORS, Boxes
from processing.errors import ImageError, MetadataError, OptionError
from processing.geometry import Geometry, Resize, fit
from processing.kernels import Picture, lookup

Tensor = NDArray[np.float32] | NDArray[np.uint8]


class Prediction(NamedTuple):
    """One class of a picture, or one detected object; `bbox` is x1 y1 x2 y2 in pixels of the source picture."""

    class_id: int
    class_name: str
    confidence: float
    bbox: tuple[float, float, float, float] | None = None

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "class_id": self.class_id,
            "class_name": self.class_name,
            "confidence": self.confidence,
            "bbox": None if self.bbox is None else list(self.bbox),
        }


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
        normalize = spec.read_normalize(pre)
        return cls(
            resize=spec.read_resize(pre),
            normalize=normalize,
            format=spec.read_format(pre, embedded=normalize.embedded),
            post=spec.read_post(root),
            classes=spec.read_classes(root),
            input_name=root.section("input_spec").text("name"),
            output_names=spec.read_outputs(root),
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

        Classification lists `top_k` classes; a `confidence` given here leaves out those not above it. Detection keeps boxes
        whose score is above `confidence`, suppresses with `iou`, and lists `max_detections`. What is not given is the
        metadata's. Where the graph itself suppresses, its own thresholds bound what can be asked for. Raises OptionError
        for an option out of range or without meaning for this model, MetadataError if the outputs are not as described.
        """
        check_fraction("confidence_threshold", confidence)
        check_fraction("iou_threshold", iou)
        check_count("max_detections", max_detections)
        check_count("top_k", top_k)
        if self.post.detects:
            if top_k is not None:
                raise OptionError("top_k", "is for classifiers; use max_detections")
            return self._detections(self._raw(outputs), geometry, confidence, iou, max_detections)
        if iou is not None or max_detections is not None:
            raise OptionError("iou_threshold" if iou is not None else "max_detections", "is for detectors")
        scores = CLASSIFIERS[self.post.decoder](self._raw(outputs))
        return self._classes(scores, confidence, top_k or self.post.top_k)

    def _raw(self, outputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.generic]:
        name = self.output_names[0]
        if name not in outputs:
            raise MetadataError("output_spec", f"the model gave {sorted(outputs)}, not {name!r}")
        return outputs[name]

    def _classes(self, scores: NDArray[np.float32], confidence: float | None, top_k: int) -> list[Prediction]:
        best = np.argsort(-scores, kind="stable")[:top_k]
        if confidence is not None:
            best = best[scores[best] > np.float32(confidence)]
        return [Prediction(int(i), self.class_name(int(i)), float(scores[i])) for i in best]

    def _detections(
        self,
        raw: NDArray[np.generic],
        geometry: Geometry,
        confidence: float | None,
        iou: float | None,
        max_detections: int | None,
    ) -> list[Prediction]:
        found = DETECTORS[self.post.decoder](raw, self.post.confidence if confidence is None else confidence)
        kept = self._chosen(found, iou, max_detections or self.post.max_detections)
        boxes = geometry.to_source(found.xyxy[kept]).tolist()
        scores, ids = found.scores[kept].tolist(), found.classes[kept].tolist()
        return [
            Prediction(class_id, self.class_name(class_id), score, (box[0], box[1], box[2], box[3]))
            for class_id, score, box in zip(ids, scores, boxes, strict=True)
        ]

    def _chosen(self, found: Boxes, iou: float | None, limit: int) -> NDArray[np.intp]:
        """Indices to keep, best first: suppressed here unless the graph did it and nothing stricter is asked for."""
        outside = self.post.nms_enabled and not self.post.nms_embedded
        if outside or iou is not None:
            threshold = self.post.iou if iou is None else iou
            agnostic = self.post.class_agnostic
            return nms.suppress(found.xyxy, found.scores, found.classes, threshold, limit, agnostic=agnostic)
        order: NDArray[np.intp] = np.argsort(-found.scores, kind="stable")[:limit]
        return order

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


def check_fraction(name: str, value: float | None) -> None:
    """Raises OptionError unless the value is absent or from 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise OptionError(name, f"must be from 0 to 1, not {value!r}")


def check_count(name: str, value: int | None) -> None:
    """Raises OptionError unless the value is absent or at least 1."""
    if value is not None and value < 1:
        raise OptionError(name, f"must be at least 1, not {value!r}")
