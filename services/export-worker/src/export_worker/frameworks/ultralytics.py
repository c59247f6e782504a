"""Ultralytics checkpoints (.pt) of every task: loads the pickled model, checks that it can be exported, and describes it.

Opening such a file runs code that it carries, which is why this happens only inside the sandboxed child.
"""

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import torch
import ultralytics
from msgspec import structs
from ultralytics.nn.modules import Detect
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.nms import TorchNMS

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.vocabulary import TaskType
from export_worker.frameworks.checkpoints import ORIGINS, class_names, error_line, image_size, sniff
from export_worker.frameworks.yolo_source import UltralyticsSource
from export_worker.frameworks.yolo_tasks import TASKS
from export_worker.loaded import Loaded, Work

WORKS = f"What works: {', '.join(TASKS)}."


def load(work: Work) -> Work:
    """The checkpoint as `Loaded`; raises Permanent for a file that is damaged, of another framework or of another task."""
    model, size_bytes = _open(work.checkpoint)
    _check(model, work.request)
    _suppress_with_kernel()
    names = class_names([str(model.names[i]) for i in sorted(model.names)], work.request.classes)
    task = TASKS[model.task]
    stride = 1 if task.word is TaskType.IMAGE_CLASSIFICATION else int(max(model.stride.max(), 32))
    trained = model.args.get("imgsz") or task.trained
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
    if task is None:
        raise Permanent("unsupported", f"Ultralytics models for the task {model.task} cannot be exported.", hint=WORKS)
    if task.word is not request.task_type:
        raise Permanent(
            "checkpoint_task_mismatch",
            f"the checkpoint was trained for {task.word}, the request says {request.task_type}.",
        )
    head = type(model.model[-1]).__name__
    if head not in task.heads:
        raise Permanent(
            "unsupported",
            f"Ultralytics models with a {head} head cannot be exported.",
            hint=f"What works for {task.word}: {', '.join(sorted(task.heads))}.",
        )
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
