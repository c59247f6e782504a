"""Runs this package's model: pictures in, predictions out, exactly as metadata.json says.

>>> with ModelWrapper() as model:
...     for found in model.predict("picture.jpg"):
...         print(found.class_name, found.confidence, found.bbox)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

import numpy as np
from model_backends import BACKENDS, Array, Facts
from numpy.typing import NDArray

from processing import images
from processing.errors import MetadataError, ProcessingError
from processing.geometry import Geometry
from processing.pipeline import Pipeline
from processing.predictions import Prediction

PACKAGE = Path(__file__).resolve().parents[2]
"""Where metadata.json and the model lie in an unpacked package."""
DYNAMIC_BATCH = 16
"""How many pictures go through a model at once that takes any number: more would cost memory and save no time."""

PathLike = str | os.PathLike[str]
Outputs = Mapping[str, Array]


class PillowImage(Protocol):
    """A `PIL.Image.Image`."""

    def convert(self, mode: str) -> Any: ...

    def getexif(self) -> Any: ...


Image = PathLike | bytes | NDArray[np.uint8] | PillowImage
"""A JPEG, PNG, WebP or BMP file by its path or as bytes, RGB pixels uint8 [height, width, 3], or Pillow's picture."""


class Options(TypedDict, total=False):
    """What a call may ask for; what is not given, or None, is what metadata.json says."""

    confidence_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    top_k: int | None


class ModelWrapper:
    """A loaded model. Every method but `close` may be called from several threads at once."""

    def __init__(self, model: PathLike | None = None, metadata: PathLike | None = None) -> None:
        """Load the model and its metadata.json, by default those of the package that this file lies in.

        Raises OSError for a missing file, MetadataError for metadata that this code does not understand, and BackendError where
        the model's runtime is not installed or cannot run on this machine.
        """
        path = Path(metadata) if metadata is not None else PACKAGE / "metadata.json"
        self.metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.pipeline = Pipeline.from_metadata(self.metadata)
        file = Path(model) if model is not None else path.parent / self.pipeline.model_file
        if not file.exists():
            raise FileNotFoundError(f"there is no model at {file}")
        export_format = self.metadata["model_info"]["export_format"]
        if export_format not in BACKENDS:
            raise MetadataError("model_info.export_format", f"{export_format!r}; here run: {', '.join(BACKENDS)}")
        options = self.metadata["provenance"]["export_options"]
        self._batch: int = self.metadata["input_spec"]["shape"][0]
        self.batch_size: int = self._batch if self._batch > 0 else options.get("max_batch_size") or DYNAMIC_BATCH
        """The most pictures that `run` takes, and that `predict_batch` gives it, at once."""
        facts = Facts(self.pipeline.input_name, self.pipeline.output_names, options)
        self._run = BACKENDS[export_format](file, facts)

    def predict(self, image: Image, **options: Unpack[Options]) -> list[Prediction]:
        """The predictions of one picture, best first; see `postprocess` for the options.

        `bbox` is x1 y1 x2 y2 in pixels of the picture, None for a classifier. Where the task has them there are `rotated_box`
        (cx, cy, w, h, radians), `keypoints` ((x, y, confidence), …) and `mask`, whose `array()` gives the pixels, bool
        [height, width]. `as_dict()` of a prediction is ready for JSON.
        Raises processing.errors.ImageError for a picture that cannot be read, OptionError for an impossible option.
        """
        (found,) = self.predict_batch([image], **options)
        return found

    def predict_batch(self, pictures: Sequence[Image], **options: Unpack[Options]) -> list[list[Prediction]]:
        """The predictions of each picture, as `predict` gives them but for the rounding of a runtime that adds up in another order.

        As many as the model takes go through it at once (`batch_size`), whatever their sizes are.
        """
        found: list[list[Prediction]] = []
        for begin in range(0, len(pictures), self.batch_size):
            prepared = [self.preprocess(picture) for picture in pictures[begin : begin + self.batch_size]]
            tensors = [tensor for tensor, _ in prepared]
            outputs = self.run(tensors[0] if len(tensors) == 1 else np.concatenate(tensors))
            alone = each(outputs, len(prepared))
            found += [self.postprocess(one, place, **options) for one, (_, place) in zip(alone, prepared, strict=True)]
        return found

    def preprocess(self, image: Image) -> tuple[Array, Geometry]:
        """The model's tensor of batch 1 for a picture, and the geometry that `postprocess` needs to find back into it."""
        return self.pipeline.preprocess(self._pixels(image))

    def run(self, tensor: Array) -> dict[str, Array]:
        """The model alone: a tensor of up to `batch_size` pictures to its outputs by name, as many rows as pictures."""
        count = len(tensor)
        missing = self._batch - count if self._batch > 0 else 0
        if missing > 0:
            tensor = np.concatenate([tensor, np.repeat(tensor[-1:], missing, axis=0)])
        outputs = self._run(tensor)
        return {name: output[:count] for name, output in outputs.items()} if missing > 0 else outputs

    def postprocess(
        self,
        outputs: Outputs,
        geometry: Geometry,
        *,
        confidence_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        top_k: int | None = None,
    ) -> list[Prediction]:
        """One picture's outputs, by name and of batch 1, to predictions, best first.

        `iou_threshold` and `max_detections` are for detectors, `top_k` for classifiers; OptionError says so, and what the range is.
        """
        return self.pipeline.postprocess(
            outputs,
            geometry,
            confidence=confidence_threshold,
            iou=iou_threshold,
            max_detections=max_detections,
            top_k=top_k,
        )

    def close(self) -> None:
        """Let go of the model's memory; whatever is asked of it afterwards is a ProcessingError `closed`."""
        self._run = closed

    def __enter__(self) -> ModelWrapper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pixels(self, image: Image) -> NDArray[np.uint8]:
        """RGB; the picture of a file or of Pillow is turned upright by its EXIF tag where the metadata says so."""
        upright = self.pipeline.format.exif
        if isinstance(image, np.ndarray):
            return image
        if isinstance(image, bytes):
            return images.decode(image, apply_orientation=upright)
        if isinstance(image, (str, os.PathLike)):
            return images.decode(Path(image).read_bytes(), apply_orientation=upright)
        return images.from_pillow(image, apply_orientation=upright)


def each(outputs: Outputs, count: int) -> Iterator[dict[str, Array]]:
    """The outputs of each picture of a batch; raises MetadataError where the model gave another number of rows."""
    for name, output in outputs.items():
        if len(output) != count:
            raise MetadataError("output_spec", f"{name!r} has {len(output)} rows for {count} pictures")
    for row in range(count):
        yield {name: output[row : row + 1] for name, output in outputs.items()}


def closed(_: Array) -> dict[str, Array]:
    """What a model that was let go of answers."""
    raise ProcessingError("closed", "this model was closed")
