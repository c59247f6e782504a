"""Ultralytics detectors and classifiers (.pt): loads the pickled model and runs it by Ultralytics' own predictor.

Opening such a file runs code that it carries, which is why this happens only inside the sandboxed child.
"""

import copy
import importlib.util
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from msgspec import structs
from ultralytics.models.yolo.classify.predict import ClassificationPredictor
from ultralytics.models.yolo.detect.predict import DetectionPredictor
from ultralytics.nn.modules import C2f, Classify, Detect
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.nms import TorchNMS

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.model_package import (
    Nms,
    Normalize,
    OutputFormat,
    Postprocessing,
    Preprocessing,
    Resize,
    TensorFormat,
)
from contracts.vocabulary import Decoder, Framework, Kernel, ResizeMethod, TaskType
from export_worker.frameworks.checkpoints import ORIGINS, class_names, error_line, image_size, sniff
from export_worker.loaded import Found, Loaded, Output, Picture, SourceRun, Work

TASKS = {
    "detect": TaskType.OBJECT_DETECTION,
    "classify": TaskType.IMAGE_CLASSIFICATION,
    "segment": TaskType.INSTANCE_SEGMENTATION,
    "semantic": TaskType.SEMANTIC_SEGMENTATION,
    "pose": TaskType.POSE_ESTIMATION,
    "obb": TaskType.ORIENTED_DETECTION,
}
HEADS = {"Detect": "detect", "v10Detect": "detect", "Classify": "classify"}
PREDICTORS = {"detect": DetectionPredictor, "classify": ClassificationPredictor}
CONFIDENCE, IOU, MAX_DETECTIONS = 0.25, 0.7, 300
"""Defaults of Ultralytics' predict mode."""


def load(work: Work) -> Work:
    """The checkpoint as `Loaded`; raises Permanent for a file that is damaged, of another framework or of another task."""
    model, size_bytes = _open(work.checkpoint)
    _check(model, work.request)
    _suppress_with_kernel()
    names = class_names([str(model.names[i]) for i in sorted(model.names)], work.request.classes)
    stride = int(max(model.stride.max(), 32)) if model.task == "detect" else 1
    trained = model.args.get("imgsz") or (640 if model.task == "detect" else 224)
    size = image_size(work.request, (trained, trained) if isinstance(trained, int) else tuple(trained), stride)
    source = UltralyticsSource(model, size)
    module = source.module()
    loaded = Loaded(
        module=module,
        source=source,
        preprocessing=source.preprocessing(stride),
        postprocessing=source.postprocessing(),
        outputs=source.outputs,
        example=torch.zeros(1, 3, *size),
        classes=names,
        source_size_bytes=size_bytes,
        toolchain={"ultralytics": ultralytics.__version__},
        stride=stride,
        set_dynamic_size=lambda: _set_dynamic(module),
    )
    return structs.replace(work, loaded=loaded)


def _open(path: Path) -> tuple[Any, int]:
    kind = sniff(path)
    if kind != "ultralytics":
        raise Permanent(
            "checkpoint_unreadable" if kind == "unreadable" else "checkpoint_framework_mismatch",
            f"{path.name} is {ORIGINS[kind]}, not an Ultralytics checkpoint.",
        )
    if path.suffix != ".pt":
        raise Permanent("checkpoint_unreadable", f"{path.name}: Ultralytics opens only files called .pt.")
    try:
        model, _ = load_checkpoint(path)
    except (TypeError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, KeyError) as error:
        raise Permanent(
            "checkpoint_unreadable",
            f"Ultralytics {ultralytics.__version__} cannot open {path.name}: {error_line(error)}",
        ) from error
    return model, path.stat().st_size


def _check(model: Any, request: ExportRequestedV1) -> None:
    task = TASKS.get(model.task)
    if task is not request.task_type:
        raise Permanent(
            "checkpoint_task_mismatch",
            f"the checkpoint was trained for {task or model.task}, the request says {request.task_type}.",
        )
    head = type(model.model[-1]).__name__
    if HEADS.get(head) != model.task:
        raise Permanent("unsupported", f"Ultralytics models with a {head} head cannot be exported yet.")
    if model.yaml.get("channels", 3) != 3:
        raise Permanent(
            "unsupported", f"the model takes {model.yaml['channels']} channels; only RGB models can be exported."
        )


def _suppress_with_kernel() -> None:
    """Have Ultralytics suppress boxes with torchvision's kernel, as it does once something has imported torchvision.

    Its own operators take 25 times as long and break ties otherwise; the kernel alone costs 2 ms, all of torchvision 1.6 s.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None:
        return
    for folder in found.submodule_search_locations or ():
        for library in Path(folder).glob("_C*.so"):
            torch.ops.load_library(str(library))
            TorchNMS.nms = staticmethod(torch.ops.torchvision.nms)


def _set_dynamic(module: torch.nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, Detect):
            part.dynamic = True


class UltralyticsSource:
    """The checkpoint behind Ultralytics' predictor, with the defaults of its predict mode but for a letterbox of fixed size.

    A model with two heads (YOLO26, YOLOv10) predicts by its one-to-many head and NMS unless told otherwise (`nms` in Ultralytics' default.yaml);
    the NMS-free head is taken where fusion has left no other.
    """

    def __init__(self, model: Any, size: tuple[int, int]) -> None:
        self.task = model.task
        self.size = size
        overrides = {
            "task": self.task, "mode": "predict", "imgsz": list(size), "rect": False, "batch": 1, "device": "cpu",
            "save": False, "verbose": False, "conf": CONFIDENCE, "iou": IOU, "max_det": MAX_DETECTIONS,
        }  # fmt: skip
        self.predictor = PREDICTORS[self.task](overrides=overrides)
        self.predictor.setup_model(model, verbose=False)
        self.predictor.done_warmup = True
        self.model = self.predictor.model.model
        self.end2end = bool(getattr(self.model.model[-1], "end2end", False))
        self._seen: dict[str, Any] = {}
        self.model.register_forward_pre_hook(self._before)
        self.model.register_forward_hook(self._after)

    def _before(self, module: Any, inputs: tuple[Any, ...]) -> None:
        self._seen = {"tensor": inputs[0], "start": time.perf_counter()}

    def _after(self, module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen["milliseconds"] = (time.perf_counter() - self._seen["start"]) * 1000
        raw = output[0] if isinstance(output, (tuple, list)) else output
        self._seen["outputs"] = (raw.clone(),)

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun:
        self.predictor.args.conf, self.predictor.args.iou = confidence, iou
        (result,) = self.predictor(np.ascontiguousarray(picture[..., ::-1]))
        tensor = self._seen["tensor"].numpy().copy()
        return SourceRun(
            tensor, tuple(one.numpy() for one in self._seen["outputs"]), _found(result), self._seen["milliseconds"]
        )

    def module(self) -> torch.nn.Module:
        """A copy of the fused model in Ultralytics' export mode: one plain output."""
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
        if self.task == "detect":
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
        if self.task == "classify":
            return Postprocessing(decoder=Decoder.PROBABILITIES, nms=Nms(), output_format=OutputFormat())
        nms = Nms(
            enabled=not self.end2end, iou_threshold=IOU, confidence_threshold=CONFIDENCE, max_detections=MAX_DETECTIONS
        )
        decoder = Decoder.YOLO_END2END if self.end2end else Decoder.YOLO_V8
        box = OutputFormat(bbox_format="xyxy", coordinates="absolute")
        return Postprocessing(decoder=decoder, nms=nms, output_format=box)

    @property
    def outputs(self) -> tuple[Output, ...]:
        if self.task == "classify":
            return (Output("probabilities", "[batch, class]"),)
        if self.end2end:
            return (Output("detections", "[batch, detection, x1 y1 x2 y2 score class]"),)
        return (Output("output0", "[batch, cx cy w h + scores, anchor]"),)


def _found(result: Any) -> tuple[Found, ...]:
    if result.probs is not None:
        scores = result.probs.data
        return tuple(Found(int(i), float(scores[i])) for i in result.probs.top5)
    rows = result.boxes.data.tolist()
    return tuple(Found(int(row[5]), row[4], (row[0], row[1], row[2], row[3])) for row in rows)
