"""Hugging Face models: a folder or zip of config.json, weights and preprocessor_config.json, without remote code."""

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from msgspec import structs
from safetensors import SafetensorError
from transformers import AutoImageProcessor

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from export_worker.frameworks import processors
from export_worker.frameworks.archive import unpack
from export_worker.frameworks.checkpoints import ORIGINS, class_names, error_line, sniff
from export_worker.frameworks.hf_tasks import Answers, ProcessorSource, Task, note_of, task_of, tried
from export_worker.loaded import Loaded, Work

WEIGHTS = ("*.safetensors", "*.bin")
MAX_UNPACKED_FACTOR = 4
BACKEND = (
    "The source prepares pictures with the Pillow backend of its image processor; the torchvision backend rounds resized pixels "
    "differently, by at most one level of 255."
)
TASKS = {
    "ForImageClassification": "image_classification",
    "ForObjectDetection": "object_detection",
    "ForSemanticSegmentation": "semantic_segmentation",
    "ForInstanceSegmentation": "instance_segmentation",
    "ForUniversalSegmentation": "instance_segmentation",
    "ForSegmentation": "panoptic_segmentation",
    "ForDepthEstimation": "depth_estimation",
    "ForPoseEstimation": "pose_estimation",
}
"""What an architecture's name ends in, and the task that it is for."""


def load(work: Work) -> Work:
    """The checkpoint as `Loaded`; raises Permanent for a damaged or foreign file, another task, or code of its own."""
    folder = _folder(work)
    config = _config(folder)
    _check(config, work.request)
    task = task_of(work.request.task_type)
    model, size_bytes = _model(folder, task)
    names = _names(model.config.id2label, int(model.config.num_labels))
    classes = class_names(names, work.request.classes)
    wanted = work.request.options.image_size or work.request.source_config.get("image_size")
    processor, settled = processors.adapt(_processor(folder), wanted)
    preprocessing = processors.read(processor)
    module = Answers(model, task.fields).eval().requires_grad_(False)
    example = torch.zeros(1, 3, *preprocessing.resize.size)
    loaded = Loaded(
        module=module,
        source=ProcessorSource(module, processor, task.find),
        preprocessing=preprocessing,
        postprocessing=tried(module, example, task, len(names), processor),
        outputs=task.outputs,
        example=example,
        classes=classes,
        source_size_bytes=size_bytes,
        toolchain={"transformers": transformers.__version__},
        note=" ".join(filter(None, (BACKEND, settled, note_of(task, preprocessing.resize)))),
    )
    return structs.replace(work, loaded=loaded)


def _folder(work: Work) -> Path:
    if work.checkpoint.is_dir():
        if not (work.checkpoint / "config.json").is_file():
            raise Permanent("checkpoint_unreadable", "the folder has no config.json.")
        return work.checkpoint
    kind = sniff(work.checkpoint)
    if kind != "huggingface":
        code = "checkpoint_unreadable" if kind == "unreadable" else "checkpoint_framework_mismatch"
        raise Permanent(code, f"{work.checkpoint.name} is {ORIGINS[kind]}, not a zip of a Hugging Face model folder.")
    (work.folder / "tmp").mkdir(exist_ok=True)
    target = Path(tempfile.mkdtemp(prefix="model-", dir=work.folder / "tmp"))
    return unpack(work.checkpoint, target, MAX_UNPACKED_FACTOR * work.request.checkpoint_max_bytes)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError as error:
        raise Permanent("checkpoint_unreadable", f"config.json is not JSON: {error_line(error)}") from error
    if not isinstance(config, dict) or not (config.get("model_type") or config.get("architecture")):
        raise Permanent("checkpoint_unreadable", "config.json names no model_type.")
    return config


def _check(config: dict[str, Any], request: ExportRequestedV1) -> None:
    if "auto_map" in config:
        raise Permanent("unsupported", "config.json asks for code of its own (auto_map), which is never run.")
    for architecture in config.get("architectures") or []:
        task = next((task for suffix, task in TASKS.items() if suffix in str(architecture)), str(architecture))
        if task != request.task_type:
            raise Permanent(
                "checkpoint_task_mismatch", f"{architecture} is for {task}, the request says {request.task_type}."
            )


def _model(folder: Path, task: Task) -> tuple[Any, int]:
    safe = sorted(folder.glob(WEIGHTS[0]))
    files = safe or sorted(folder.glob(WEIGHTS[1]))
    if not files:
        raise Permanent("checkpoint_unreadable", "the folder has no weights: neither *.safetensors nor *.bin.")
    try:
        model, told = task.opener.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=bool(safe),
            output_loading_info=True, attn_implementation="eager", dtype=torch.float32,
        )  # fmt: skip
    except (SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise Permanent("checkpoint_unreadable", f"the weights cannot be read: {error_line(error)}") from error
    except (ValueError, KeyError, ImportError, OSError) as error:
        raise Permanent("checkpoint_unreadable", f"transformers cannot open the folder: {error_line(error)}") from error
    except RuntimeError as error:
        raise Permanent(
            "checkpoint_architecture_mismatch", f"the weights do not fit config.json: {error_line(error)}"
        ) from error
    wrong = sorted(told["missing_keys"]) + [str(key[0]) for key in told.get("mismatched_keys", ())]
    if wrong:
        raise Permanent(
            "checkpoint_architecture_mismatch",
            f"the weights do not fit config.json: {wrong[0]} and {len(wrong) - 1} more.",
        )
    return model, sum(file.stat().st_size for file in files)


def _processor(folder: Path) -> Any:
    if not (folder / "preprocessor_config.json").is_file():
        raise Permanent("checkpoint_unreadable", "the folder has no preprocessor_config.json.")
    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, ImportError, OSError) as error:
        raise Permanent(
            "checkpoint_unreadable", f"transformers cannot read preprocessor_config.json: {error_line(error)}"
        ) from error


def _names(labels: dict[Any, str], count: int) -> list[str]:
    named = {int(key): str(value) for key, value in labels.items()}
    return [named.get(index, str(index)) for index in range(count)]
