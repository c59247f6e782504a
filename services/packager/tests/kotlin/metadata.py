"""A metadata.json dict to change, and pictures that both languages can draw."""

import copy
from typing import Any

SIZES = [(1, 1), (1, 64), (64, 1), (2, 3), (17, 29), (48, 48), (64, 96), (97, 131), (128, 192), (240, 7), (33, 700)]
"""Of source pictures, (height, width)."""


def metadata(decoder: str = "softmax", names: int = 5, outputs: int = 1, **changes: Any) -> dict[str, Any]:
    """`changes` are dotted paths with `__` for the dot."""
    value = {
        "schema_version": 1,
        "model_info": {"export_format": "onnx"},
        "model_file": "model.onnx",
        "preprocessing": {
            "resize": {"method": "letterbox", "size": [48, 64], "kernel": "cv2_linear_u8"},
            "normalize": {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            "format": {},
        },
        "postprocessing": {
            "decoder": decoder,
            "nms": {"enabled": True, "iou_threshold": 0.45, "confidence_threshold": 0.25, "max_detections": 300},
            "top_k": 3,
        },
        "input_spec": {"name": "images", "shape": [1, 3, 48, 64]},
        "output_spec": {f"part {i}": {"name": f"output{i}"} for i in range(outputs)},
        "classes": [{"id": i, "name": f"class {i}"} for i in range(names)],
    }
    for path, change in changes.items():
        *parents, last = path.split("__")
        section: Any = value
        for parent in parents:
            section = section[parent]
        section[last] = change
    return copy.deepcopy(value)
