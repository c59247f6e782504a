"""Hugging Face image classifiers: a folder or zip of config.json, weights and preprocessor_config.json, without remote code."""

import json
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from msgspec import structs
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageClassification

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from export_worker.frameworks import processors
from export_worker.frameworks.archive import unpack
from export_worker.frameworks.checkpoints import ORIGINS, class_names, error_line, sniff
from export_worker.frameworks.classification import TOP_K, classification
from export_worker.loaded import Found, Loaded, Output, Picture, SourceRun, Work

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
    "ForPoseEstimation": "pose_estimation",
}


def load(work: Work) -> Work:
    """The checkpoint as `Loaded`; raises Permanent for a damaged or foreign file, another task, or code of its own."""
    folder = _folder(work)
    config = _config(folder)
    _check(config, work.request)
    model, size_bytes = _model(folder)
    names = _names(model.config.id2label, int(model.config.num_labels))
    classes = class_names(names, work.request.classes)
    wanted = work.request.options.image_size or work.request.source_config.get("image_size")
    processor = processors.adapt(_processor(folder), wanted)
    preprocessing = processors.read(processor)
    module = Logits(model).eval().requires_grad_(False)
    loaded = Loaded(
        module=module,
        source=ProcessorSource(module, processor),
        preprocessing=preprocessing,
        postprocessing=classification(),
        outputs=(Output("logits", "[batch, class]"),),
        example=torch.zeros(1, 3, *preprocessing.resize.size),
        classes=classes,
        source_size_bytes=size_bytes,
        toolchain={"transformers": transformers.__version__},
        note=BACKEND,
    )
    return structs.replace(work, loaded=loaded)


class Logits(torch.nn.Module):
    """The model with its first answer alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(pixel_values=images, return_dict=True).logits
        return logits


class ProcessorSource:
    """The classifier behind its own image processor, which takes a Pillow picture as users give it."""

    def __init__(self, model: torch.nn.Module, processor: Any) -> None:
        self.model, self.processor = model, processor

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun:
        tensor = self.processor(images=Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        start = time.perf_counter()
        with torch.inference_mode():
            logits = self.model(tensor)
        milliseconds = (time.perf_counter() - start) * 1000
        scores = logits.softmax(-1)[0]
        best = scores.topk(min(TOP_K, len(scores)))
        found = tuple(Found(int(i), float(s)) for s, i in zip(best.values, best.indices, strict=True))
        return SourceRun(tensor.numpy(), (logits.numpy(),), found, milliseconds)


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


def _model(folder: Path) -> tuple[Any, int]:
    safe = sorted(folder.glob(WEIGHTS[0]))
    files = safe or sorted(folder.glob(WEIGHTS[1]))
    if not files:
        raise Permanent("checkpoint_unreadable", "the folder has no weights: neither *.safetensors nor *.bin.")
    try:
        model, told = AutoModelForImageClassification.from_pretrained(
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
