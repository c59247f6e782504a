"""Runs this package's model: a picture in, predictions out, exactly as metadata.json says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from model_backends import BACKENDS, Array, Facts
from numpy.typing import NDArray

from processing import images
from processing.errors import MetadataError
from processing.pipeline import Pipeline

PACKAGE = Path(__file__).resolve().parents[2]
"""Where metadata.json and the model lie in an unpacked package."""

PathLike = str | os.PathLike[str]


class ModelWrapper:
    """A loaded model; `predict` may be called from several threads."""

    def __init__(self, model_path: PathLike | None = None, metadata_path: PathLike | None = None) -> None:
        """Load the model and its metadata.json, by default those of the package that this file lies in.

        Raises OSError for a missing file, MetadataError for metadata that this code does not understand, and BackendError where
        the model's runtime is not installed or cannot run on this machine.
        """
        path = Path(metadata_path) if metadata_path is not None else PACKAGE / "metadata.json"
        self.metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.pipeline = Pipeline.from_metadata(self.metadata)
        model = Path(model_path) if model_path is not None else path.parent / self.pipeline.model_file
        if not model.exists():
            raise FileNotFoundError(f"there is no model at {model}")
        export_format = self.metadata["model_info"]["export_format"]
        if export_format not in BACKENDS:
            raise MetadataError("model_info.export_format", f"{export_format!r}; here run: {', '.join(BACKENDS)}")
        options = self.metadata["provenance"]["export_options"]
        self._run = BACKENDS[export_format](model, Facts(self.pipeline.input_name, self.pipeline.output_names, options))

    def predict(
        self,
        image_path: PathLike,
        *,
        confidence_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        top_k: int | None = None,
    ) -> list[dict[str, Any]]:
        """Predictions of a JPEG, PNG, WebP or BMP file: dicts of class_id, class_name, confidence and bbox, best first.

        `bbox` is [x1, y1, x2, y2] in pixels of the picture, None for a classifier. Where the task has them there are
        `rotated_box` [cx, cy, w, h, radians], `keypoints` [[x, y, confidence], …] and `mask` (COCO's uncompressed run lengths;
        `processing.masks.Mask(size, counts).array()` gives the pixels). Options not given are the metadata's.
        Raises processing.errors.ImageError for a picture that cannot be read, OptionError for an impossible option.
        """
        return self.predict_image(
            images.decode(Path(image_path).read_bytes(), apply_orientation=self.pipeline.format.exif),
            confidence_threshold=confidence_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            top_k=top_k,
        )

    def predict_image(
        self,
        image: NDArray[np.uint8],
        *,
        confidence_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        top_k: int | None = None,
    ) -> list[dict[str, Any]]:
        """Like `predict`, for pixels: uint8 RGB [height, width, 3] (cv2.imread gives BGR: turn it round)."""
        tensor, geometry = self.pipeline.preprocess(image)
        found = self.pipeline.postprocess(
            self.run(tensor),
            geometry,
            confidence=confidence_threshold,
            iou=iou_threshold,
            max_detections=max_detections,
            top_k=top_k,
        )
        return [prediction.as_dict() for prediction in found]

    def run(self, tensor: Array) -> dict[str, Array]:
        """The model alone: its input tensor of batch 1 to its outputs by name."""
        batch = self.metadata["input_spec"]["shape"][0]
        if batch <= 1:
            return self._run(tensor)
        outputs = self._run(np.repeat(tensor, batch, axis=0))
        return {name: output[:1] for name, output in outputs.items()}
