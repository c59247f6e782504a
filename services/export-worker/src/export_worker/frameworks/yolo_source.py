"""A checkpoint behind Ultralytics' own predictor, and the module of it that is converted."""

import copy
import time
from typing import Any

import numpy as np
import torch
from ultralytics.nn.modules import C2f, Classify, Detect

from contracts.model_package import (
    Nms,
    Normalize,
    OutputFormat,
    Postprocessing,
    Preprocessing,
    Resize,
    TensorFormat,
)
from contracts.vocabulary import Framework, Kernel, ResizeMethod, TaskType
from export_worker.frameworks.yolo_tasks import TASKS
from export_worker.loaded import Found, Output, Picture, SourceRun

CONFIDENCE, IOU, MAX_DETECTIONS = 0.25, 0.7, 300
"""Defaults of Ultralytics' predict mode."""


class UltralyticsSource:
    """The checkpoint behind Ultralytics' predictor, with the defaults of its predict mode but for a letterbox of fixed size and masks
    as large as the picture.

    A model with two heads (YOLO26, YOLOv10) predicts by its one-to-many head and NMS unless told otherwise (`nms` in Ultralytics' default.yaml);
    the NMS-free head is taken where fusion has left no other.
    """

    def __init__(self, model: Any, size: tuple[int, int]) -> None:
        self.task = TASKS[model.task]
        self.size = size
        overrides = {
            "task": model.task, "mode": "predict", "imgsz": list(size), "rect": False, "batch": 1, "device": "cpu",
            "save": False, "verbose": False, "conf": CONFIDENCE, "iou": IOU, "max_det": MAX_DETECTIONS,
            "retina_masks": True,
        }  # fmt: skip
        self.predictor = self.task.predictor(overrides=overrides)
        self.predictor.setup_model(model, verbose=False)
        self.predictor.done_warmup = True
        self.model = self.predictor.model.model
        self.head = self.model.model[-1]
        self.end2end = bool(getattr(self.head, "end2end", False))
        self._seen: dict[str, Any] = {}
        self.model.register_forward_pre_hook(self._before)
        self.model.register_forward_hook(self._after)

    def _before(self, module: Any, inputs: tuple[Any, ...]) -> None:
        self._seen = {"tensor": inputs[0], "start": time.perf_counter()}

    def _after(self, module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen["milliseconds"] = (time.perf_counter() - self._seen["start"]) * 1000
        answer = output[0] if isinstance(output, (tuple, list)) else output
        each = answer if isinstance(answer, (tuple, list)) else (answer,)
        self._seen["outputs"] = tuple(one.clone() for one in each)

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun:
        self.predictor.args.conf, self.predictor.args.iou = confidence, iou
        (result,) = self.predictor(np.ascontiguousarray(picture[..., ::-1]))
        tensor = self._seen["tensor"].numpy().copy()
        outputs = tuple(one.numpy() for one in self._seen["outputs"])
        return SourceRun(tensor, outputs, _found(result), self._seen["milliseconds"])

    def module(self) -> torch.nn.Module:
        """A copy of the fused model in Ultralytics' export mode, which answers with the tensors of `outputs` alone."""
        hooks = self.model._forward_hooks, self.model._forward_pre_hooks
        self.model._forward_hooks, self.model._forward_pre_hooks = type(hooks[0])(), type(hooks[1])()
        module = copy.deepcopy(self.model)
        self.model._forward_hooks, self.model._forward_pre_hooks = hooks
        for part in module.modules():
            if isinstance(part, (Detect, Classify)):
                part.export = True
            if isinstance(part, Detect):
                part.format, part.dynamic, part.shape = "onnx", False, None
                part.max_det = MAX_DETECTIONS
            if isinstance(part, C2f):
                part.forward = part.forward_split
            if hasattr(part, "inplace"):
                part.inplace = False
        return module.eval().requires_grad_(False)

    def preprocessing(self, stride: int) -> Preprocessing:
        """A letterbox, or what is read from a classifier's transforms."""
        if self.task.word is not TaskType.IMAGE_CLASSIFICATION:
            resize = Resize(
                method=ResizeMethod.LETTERBOX,
                size=self.size,
                kernel=Kernel.CV2_LINEAR_U8,
                fill_value=114,
                stride=stride,
            )
            return Preprocessing(resize=resize, normalize=Normalize(), format=TensorFormat())
        from export_worker.frameworks.transforms import read_transforms  # torchvision: 1.6 s that no detector needs

        self.predictor.setup_source(np.zeros((*self.size, 3), np.uint8))
        return read_transforms(self.predictor.transforms, Framework.ULTRALYTICS)

    def postprocessing(self) -> Postprocessing:
        """As the predictor does it, with its default thresholds."""
        if self.task.word is TaskType.IMAGE_CLASSIFICATION:
            return Postprocessing(decoder=self.task.decoder, nms=Nms(), output_format=OutputFormat())
        nms = Nms(
            enabled=not self.end2end, iou_threshold=IOU, confidence_threshold=CONFIDENCE, max_detections=MAX_DETECTIONS
        )
        shape = getattr(self.head, "kpt_shape", None)
        return Postprocessing(
            decoder=self.task.end2end if self.end2end else self.task.decoder,
            nms=nms,
            output_format=OutputFormat(bbox_format="xyxy", coordinates="absolute"),
            keypoint_shape=(int(shape[0]), 2 if shape[1] == 2 else 3) if shape else None,
        )

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What `module` answers with."""
        return self.task.outputs(end2end=self.end2end)


def _found(result: Any) -> tuple[Found, ...]:
    if result.probs is not None:
        scores = result.probs.data
        return tuple(Found(int(i), float(scores[i])) for i in result.probs.top5)
    if result.obb is not None:
        return tuple(
            Found(int(row[6]), row[5], tuple(box), rotated=tuple(row[:5]))
            for row, box in zip(result.obb.data.tolist(), result.obb.xyxy.tolist(), strict=True)
        )
    rows = result.boxes.data.tolist()
    nothing = [None] * len(rows)
    masks = nothing if result.masks is None else list(result.masks.data.numpy() > 0)
    points = nothing if result.keypoints is None else list(_three(result.keypoints.data.numpy()))
    return tuple(
        Found(int(row[5]), row[4], (row[0], row[1], row[2], row[3]), keypoints=places, mask=mask)
        for row, places, mask in zip(rows, points, masks, strict=True)
    )


def _three(points: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[N, K, 2 or 3] to [N, K, 3]: a point of which the model does not say whether it is visible is."""
    if points.shape[-1] == 3:
        return points
    return np.concatenate([points, np.ones((*points.shape[:-1], 1), np.float32)], axis=-1)
