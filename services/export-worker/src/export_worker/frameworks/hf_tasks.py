"""What the tasks of Hugging Face's models differ in: who opens them, what they answer, and what their own processor makes of it."""

import inspect
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, AutoModelForObjectDetection, AutoModelForSemanticSegmentation

from contracts.errors import Permanent
from contracts.model_package import Nms, OutputFormat, Postprocessing, Resize
from contracts.vocabulary import Decoder, TaskType
from export_worker.frameworks.checkpoints import error_line
from export_worker.frameworks.classification import TOP_K, classification
from export_worker.loaded import Found, Output, Picture, SourceRun, as_tuple
from processing.decoders import DECODERS, Model

MAX_DETECTIONS = 3000
PROBE_SIZE = (1000, 1000)
EDGES = "The processor's own answers may leave the picture; here boxes end at its edges, as those of every shipped wrapper do."
CUT = (
    "The processor cuts the centre out of a picture, and stretches the mask of that part over the whole picture afterwards; so does "
    "the exported package."
)
Outputs = tuple[torch.Tensor, ...]
Find = Callable[[Any, Outputs, tuple[int, int], float], list[Found]]
"""A processor, the model's outputs for one picture, its height and width, and the confidence: what its own post-processing finds."""


class Task(NamedTuple):
    """One task. `fields` names the parts of transformers' answer, in the order of `outputs`."""

    opener: Any
    fields: tuple[str, ...]
    outputs: tuple[Output, ...]
    find: Find
    postprocessing: Callable[[Any, Outputs], Postprocessing]
    method: str = ""
    """Of the processor, which finds things in the answers."""
    note: str = ""


class Answers(torch.nn.Module):
    """The model with the named parts of its answer alone: one tensor, or a tuple of several."""

    def __init__(self, model: Any, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.fields = model, fields

    def forward(self, images: torch.Tensor) -> Any:
        answer = self.model(pixel_values=images, return_dict=True)
        named = tuple(answer[field] for field in self.fields)
        return named if len(named) > 1 else named[0]


class ProcessorSource:
    """The model behind its own image processor, which takes a Pillow picture as users give it, and before its own post-processing."""

    def __init__(self, module: torch.nn.Module, processor: Any, find: Find) -> None:
        self.module, self.processor, self.find = module, processor, find

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun:
        tensor = self.processor(images=Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        start = time.perf_counter()
        with torch.inference_mode():
            outputs = as_tuple(self.module(tensor))
        milliseconds = (time.perf_counter() - start) * 1000
        found = self.find(self.processor, outputs, (picture.shape[0], picture.shape[1]), confidence)
        return SourceRun(tensor.numpy(), tuple(one.numpy() for one in outputs), tuple(found), milliseconds)


def classes(processor: Any, outputs: Outputs, size: tuple[int, int], confidence: float) -> list[Found]:
    """The likeliest classes."""
    scores = outputs[0].softmax(-1)[0]
    best = scores.topk(min(TOP_K, len(scores)))
    return [Found(int(i), float(s)) for s, i in zip(best.values, best.indices, strict=True)]


def objects(processor: Any, outputs: Outputs, size: tuple[int, int], confidence: float) -> list[Found]:
    """`post_process_object_detection`, with boxes that end at the picture's edges."""
    answer = SimpleNamespace(logits=outputs[0], pred_boxes=outputs[1])
    method, most = processor.post_process_object_detection, {}
    if "top_k" in (
        parameters := inspect.signature(method).parameters
    ):  # no wrapper answers more than there are queries
        most = {"top_k": min(int(parameters["top_k"].default), outputs[0].shape[1])}
    (found,) = method(answer, threshold=confidence, target_sizes=[size], **most)
    height, width = size
    boxes = found["boxes"].clamp(torch.zeros(4), torch.tensor([width, height, width, height], dtype=torch.float32))
    return [
        Found(int(label), float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for label, score, box in zip(found["labels"], found["scores"], boxes, strict=True)
    ]


def regions(processor: Any, outputs: Outputs, size: tuple[int, int], confidence: float) -> list[Found]:
    """`post_process_semantic_segmentation`: one for each class that is there, the largest first."""
    answer = SimpleNamespace(logits=outputs[0])
    (found,) = processor.post_process_semantic_segmentation(
        answer, target_sizes=[size], return_segmentation_scores=True
    )
    labels = found["segmentation"]
    likely = found["segmentation_scores"].softmax(0).gather(0, labels[None])[0]
    present, areas = labels.unique(return_counts=True)
    order = areas.argsort(descending=True, stable=True)
    return [_region(int(label), labels == label, likely) for label in present[order]]


def _region(label: int, mask: torch.Tensor, likely: torch.Tensor) -> Found:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    box = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
    return Found(label, float(likely[mask].double().mean()), box, mask=mask.numpy())


def _classification(processor: Any, outputs: Outputs) -> Postprocessing:
    return classification()


def _detection(processor: Any, outputs: Outputs) -> Postprocessing:
    """The decoder that answers what the processor's own method answers, found by asking both."""
    decoder, limit = _decoder(processor, outputs)
    threshold = inspect.signature(processor.post_process_object_detection).parameters["threshold"].default
    nms = Nms(confidence_threshold=float(threshold), max_detections=min(limit, MAX_DETECTIONS))
    return Postprocessing(
        decoder=decoder, nms=nms, output_format=OutputFormat(bbox_format="xyxy", coordinates="absolute")
    )


def _semantic(processor: Any, outputs: Outputs) -> Postprocessing:
    nms = Nms(max_detections=min(outputs[0].shape[1], MAX_DETECTIONS))
    shown = OutputFormat(bbox_format="xyxy", coordinates="absolute")
    return Postprocessing(decoder=Decoder.SEMANTIC_LOGITS, nms=nms, output_format=shown)


def _decoder(processor: Any, outputs: Outputs) -> tuple[Decoder, int]:
    """And how many predictions it answers at most."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(outputs[0].shape, generator=generator) * 3
    boxes = torch.rand(outputs[1].shape, generator=generator) * 0.25 + 0.4
    answered = objects(processor, (logits, boxes), PROBE_SIZE, 0.0)
    own = np.array([(one.class_id, one.confidence, *(one.box or ())) for one in answered])
    for decoder in (Decoder.DETR_SOFTMAX, Decoder.DETR_SIGMOID):
        model = Model(logits.shape[2] - (decoder is Decoder.DETR_SOFTMAX), None, PROBE_SIZE)
        made = DECODERS[decoder].decode(logits.numpy(), boxes.numpy(), model, 0.0)
        rows = np.column_stack([made.classes, made.scores, made.boxes])
        rows, kept = rows[np.argsort(-rows[:, 1], kind="stable")], own[np.argsort(-own[:, 1], kind="stable")]
        if len(kept) <= len(rows) and np.allclose(kept, rows[: len(kept)], rtol=1e-4, atol=1e-4):
            return decoder, len(own)
    raise Permanent(
        "unsupported",
        f"{type(processor).__name__} makes predictions of a model's answers in a way of its own, which cannot be exported.",
        hint="What works: a softmax over the classes of each query, or a sigmoid and the best of all queries and classes.",
    )


TASKS: dict[TaskType, Task] = {
    TaskType.IMAGE_CLASSIFICATION: Task(
        AutoModelForImageClassification, ("logits",), (Output("logits", "[batch, class]"),), classes, _classification,
    ),
    TaskType.OBJECT_DETECTION: Task(
        AutoModelForObjectDetection,
        ("logits", "pred_boxes"),
        (Output("logits", "[batch, query, class]"), Output("boxes", "[batch, query, cx cy w h]")),
        objects, _detection, "post_process_object_detection", EDGES,
    ),
    TaskType.SEMANTIC_SEGMENTATION: Task(
        AutoModelForSemanticSegmentation,
        ("logits",), (Output("logits", "[batch, class, height, width]"),),
        regions, _semantic, "post_process_semantic_segmentation",
    ),
}  # fmt: skip
NO_OBJECT = {Decoder.DETR_SOFTMAX: 1}
"""Classes that a decoder leaves out."""


def task_of(task_type: TaskType) -> Task:
    """The table's row; raises Permanent("unsupported") for a task that it lacks."""
    if task_type not in TASKS:
        raise Permanent(
            "unsupported",
            f"Hugging Face models of the task {task_type} cannot be exported.",
            hint=f"What works: {', '.join(TASKS)}.",
        )
    return TASKS[task_type]


def note_of(task: Task, resize: Resize) -> str:
    """What a reader of the parity report should know about the task's post-processing."""
    return CUT if task.find is regions and resize.resize_to is not None else task.note


def tried(module: torch.nn.Module, example: torch.Tensor, task: Task, names: int, processor: Any) -> Postprocessing:
    """How the answers become predictions, told by one run of the model.

    Raises Permanent where the model does not take the example's size, gives something else than its task's answers, or has other
    classes than it names.
    """
    if not hasattr(processor, task.method or "preprocess"):
        raise Permanent("unsupported", f"{type(processor).__name__} has no {task.method}.")
    try:
        with torch.inference_mode():
            outputs = as_tuple(module(example))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        raise Permanent(
            "unsupported",
            f"export_config.image_size: the model refuses an input of {list(example.shape)}: {error_line(error)}.",
            hint="What works: the size that the model was trained with.",
        ) from error
    except (KeyError, AttributeError) as error:
        raise Permanent("unsupported", f"the model does not answer with {' and '.join(task.fields)}.") from error
    postprocessing = task.postprocessing(processor, outputs)
    axis = 1 if postprocessing.decoder is Decoder.SEMANTIC_LOGITS else -1
    count = outputs[0].shape[axis] - NO_OBJECT.get(postprocessing.decoder, 0)
    if count != names:
        raise Permanent(
            "checkpoint_architecture_mismatch", f"the model answers with {count} classes, config.json names {names}."
        )
    return postprocessing
