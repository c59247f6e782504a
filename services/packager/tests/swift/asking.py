"""Questions to the Swift core in Python's own values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from processing.predictions import Prediction


class Core:
    """The core's declarations, called as the wrapper calls them."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def pipeline(self, metadata: dict[str, Any]) -> Any:
        text = [np.uint8(byte) for byte in json.dumps(metadata).encode()]
        parsed = self.names["T_JSON"].parse__1_0(p_text=text)
        return self.names["T_Pipeline"].init__1_metadata(p_metadata=parsed)

    def facts(self, metadata: dict[str, Any]) -> Any:
        text = [np.uint8(byte) for byte in json.dumps(metadata).encode()]
        parsed = self.names["T_JSON"].parse__1_0(p_text=text)
        return self.names["T_ModelFacts"].init__1_metadata(p_metadata=parsed)

    def image(self, pixels: np.ndarray) -> Any:
        height, width, _ = pixels.shape
        kind = self.names["T_RGBImage"]
        return kind.init__3_height_width_pixels(p_height=height, p_width=width, p_pixels=list(pixels.ravel()))

    def size(self, size: tuple[int, int]) -> Any:
        return self.names["T_ImageSize"].init__2_height_width(p_height=size[0], p_width=size[1])

    def resize(self, pixels: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
        chosen = self.names["T_ResizeKernel"].make(rawValue=kernel)
        made = self.names["T_Kernels"].resize__3_0_0_0(
            p_image=self.image(pixels), p_size=self.size(size), p_kernel=chosen
        )
        return np.array(made.f_pixels, np.uint8).reshape(made.f_height, made.f_width, 3)

    def preprocess(self, pipeline: Any, pixels: np.ndarray) -> np.ndarray:
        tensor, _ = pipeline.preprocess__1_0(p_image=self.image(pixels))
        (values,) = tensor.f_values.payload
        return np.array(values, tensor.f_values.case).reshape(tensor.f_shape)

    def postprocess(self, pipeline: Any, outputs: dict[str, np.ndarray], source: tuple[int, int], asked: Any) -> Any:
        arrays = {name: self.array(value) for name, value in outputs.items()}
        geometry = pipeline.locate__1_0(p_source=self.size(source))
        names = {
            "confidence": "confidenceThreshold",
            "iou": "iouThreshold",
            "max_detections": "maxDetections",
            "top_k": "topK",
        }
        given = {f"p_{names[name]}": value for name, value in asked.items()}
        kind = self.names["T_PredictionOptions"]
        options = kind.init__4_confidenceThreshold_iouThreshold_maxDetections_topK(**given)
        return pipeline.postprocess__3_0_0_0(p_outputs=arrays, p_geometry=geometry, p_options=options)

    def text(self, text: str) -> str:
        """A JSON text, read and written again."""
        return str(self.names["T_JSON"].parse__1_0(p_text=[np.uint8(byte) for byte in text.encode()]).f_text)

    def array(self, value: np.ndarray) -> Any:
        kind = self.names["T_FloatArray"]
        return kind.init__2_shape_values(p_shape=list(value.shape), p_values=list(value.astype(np.float32).ravel()))


def apart(got: list[Any], expected: list[Prediction]) -> str:
    """What differs first between Swift's predictions and Python's; nothing for equal ones."""
    if [one.f_classId for one in got] != [one.class_id for one in expected]:
        return f"classes {[one.f_classId for one in got]} for {[one.class_id for one in expected]}"
    for one, other in zip(got, expected, strict=True):
        if one.f_className != other.class_name or not near([one.f_confidence], [other.confidence]):
            return f"{one} for {other}"
        for mine, his in ((one.f_bbox, other.bbox), (one.f_rotatedBox, other.rotated_box)):
            if (mine is None) != (his is None) or (mine is not None and not near(list(vars(mine).values()), his)):
                return f"{mine} for {his}"
        points = None if one.f_keypoints is None else [tuple(vars(point).values()) for point in one.f_keypoints]
        if (points is None) != (other.keypoints is None) or (points and not near(points, other.keypoints)):
            return f"{points} for {other.keypoints}"
        if (one.f_mask is None) != (other.mask is None):
            return f"{one.f_mask} for {other.mask}"
        if other.mask is not None and not same_mask(one.f_mask, other.mask):
            return f"{one.f_mask.f_counts} for {other.mask.counts}"
    return ""


def near(got: Any, expected: Any) -> bool:
    """Equal but for the last digits of exp, sin and cos."""
    return bool(np.allclose(np.array(got, float), np.array(expected, float), rtol=2e-6, atol=1e-4, equal_nan=True))


def same_mask(got: Any, expected: Any) -> bool:
    """Sums of float32 in another order move single pixels."""
    pixels = np.array(got.pixels__0_()).reshape(expected.size)
    return int((pixels ^ expected.array()).sum()) <= 2
