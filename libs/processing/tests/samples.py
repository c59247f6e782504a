"""A metadata.json dict and noise to run it on."""

import copy

import numpy as np


def metadata(decoder: str = "yolo_v8", names: int = 5, **changes: object) -> dict:
    """A metadata.json dict; `changes` are dotted paths with `__` for the dot."""
    value = {
        "schema_version": 1,
        "model_file": "model.onnx",
        "preprocessing": {
            "resize": {"method": "letterbox", "size": [64, 96], "kernel": "cv2_linear_u8"},
            "normalize": {
                "method": "standard",
                "scale": 1 / 255,
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
                "embedded": False,
            },
            "format": {"input_layout": "HWC", "output_layout": "NCHW", "color_space": "RGB", "dtype": "float32"},
        },
        "postprocessing": {
            "decoder": decoder,
            "nms": {"enabled": True, "iou_threshold": 0.45, "confidence_threshold": 0.25, "max_detections": 300},
            "top_k": 3,
        },
        "input_spec": {"name": "images", "shape": [1, 3, 64, 96], "dtype": "float32", "format": "NCHW"},
        "output_spec": {"main": {"name": "output0", "shape": [1, 9, 100], "dtype": "float32", "format": "raw"}},
        "classes": [{"id": i, "name": f"class {i}"} for i in range(names)],
    }
    for path, change in changes.items():
        *parents, last = path.split("__")
        section = value
        for parent in parents:
            section = section[parent]
        section[last] = change
    return copy.deepcopy(value)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
