"""timm classifiers: weights into a named architecture, pictures through timm's own evaluation transforms."""

import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from msgspec import structs
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config

from contracts.errors import Permanent
from contracts.vocabulary import Framework
from export_worker.frameworks.checkpoints import ORIGINS, class_names, error_line, image_size, sniff
from export_worker.frameworks.classification import TOP_K, classification
from export_worker.frameworks.transforms import read_transforms
from export_worker.loaded import Found, Loaded, Output, Picture, SourceRun, Work

NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where training scripts put the weights, averaged ones first, as timm itself looks for them."""
PREFIXES = ("module.", "_orig_mod.", "model.")


def load(work: Work) -> Work:
    """The checkpoint as `Loaded`; raises Permanent for a damaged or foreign file or weights that do not fit `model_name`."""
    weights = read_weights(work.checkpoint)
    request = work.request
    config = data_config(request.source_config)
    wanted = request.options.image_size or request.source_config.get("image_size") or config.get("input_size", ())[1:]
    model = _model(request.model_name, weights, wanted)
    own = resolve_data_config(config, model=model)
    channels, *trained = own["input_size"]
    if channels != 3:
        raise Permanent("unsupported", f"the model takes {channels} channels; only RGB models can be exported.")
    size = image_size(request, trained)
    own["input_size"] = (3, *size)
    count = int(model.num_classes)
    names = class_names([str(i) for i in range(count)], request.classes)
    source = ClassifierSource(model, _transform(own))
    loaded = Loaded(
        module=model,
        source=source,
        preprocessing=read_transforms(source.transform, Framework.TIMM),
        postprocessing=classification(),
        outputs=(Output("logits", "[batch, class]"),),
        example=torch.zeros(1, 3, *size),
        classes=names,
        source_size_bytes=work.checkpoint.stat().st_size,
        toolchain={"timm": timm.__version__},
    )
    return structs.replace(work, loaded=loaded)


class ClassifierSource:
    """A classifier of logits behind a transform that takes a Pillow picture and gives float32 [3, H, W]."""

    def __init__(self, model: Any, transform: Any) -> None:
        self.model, self.transform = model, transform

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun:
        tensor = self.transform(Image.fromarray(picture)).unsqueeze(0)
        start = time.perf_counter()
        with torch.inference_mode():
            logits = self.model(tensor)
        milliseconds = (time.perf_counter() - start) * 1000
        scores = logits.softmax(-1)[0]
        best = scores.topk(min(TOP_K, len(scores)))
        found = tuple(Found(int(i), float(s)) for s, i in zip(best.values, best.indices, strict=True))
        return SourceRun(tensor.numpy(), (logits.numpy(),), found, milliseconds)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of a .pth, .pt or .safetensors file, unwrapped; nothing in the file is executed."""
    kind = sniff(path)
    if kind not in {"state_dict", "safetensors"}:
        code = "checkpoint_unreadable" if kind == "unreadable" else "checkpoint_framework_mismatch"
        raise Permanent(code, f"{path.name} is {ORIGINS[kind]}, not a state dict for a timm model.")
    try:
        saved = load_file(path) if kind == "safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise Permanent("checkpoint_unreadable", f"{path.name} cannot be read: {error_line(error)}") from error
    weights = {name: value for name, value in _unwrapped(saved).items() if isinstance(value, torch.Tensor)}
    if not weights:
        raise Permanent("checkpoint_unreadable", f"{path.name} holds no weights.")
    return _without_prefix(weights)


def _unwrapped(saved: object) -> Mapping[str, Any]:
    for key in NESTED:
        if isinstance(saved, Mapping) and isinstance(saved.get(key), Mapping):
            return _unwrapped(saved[key])
    return {str(name): value for name, value in saved.items()} if isinstance(saved, Mapping) else {}


def _without_prefix(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _model(name: str, weights: dict[str, torch.Tensor], size: Any) -> Any:
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise Permanent(
            "checkpoint_architecture_mismatch",
            f"timm {timm.__version__} knows no architecture called {name!r}.",
            hint=f"What is alike: {near}." if near else "",
        )
    count = _class_count(name, weights)
    fixed = bool(getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False))
    arguments = {"img_size": tuple(size)} if size and fixed and isinstance(size, (list, tuple)) else {}
    try:
        timm.layers.set_fused_attn(False)  # plain products: opset 13 has no other attention
        model = timm.create_model(name, pretrained=False, num_classes=count, **arguments)
        model.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise Permanent(
            "checkpoint_architecture_mismatch", f"the weights do not fit {name}: {_mismatch(error)}"
        ) from error
    return model.eval().requires_grad_(False)


def _class_count(name: str, weights: dict[str, torch.Tensor]) -> int:
    """Rows of the classifier's weights; the architecture says what its classifier is called."""
    config = timm.get_pretrained_cfg(name)
    classifier = getattr(config, "classifier", None)
    classifier = classifier[0] if isinstance(classifier, (tuple, list)) else classifier
    weight = weights.get(f"{classifier}.weight")
    if weight is None:
        raise Permanent(
            "checkpoint_architecture_mismatch",
            f"the weights have no {classifier}.weight, the classifier of {name}; they begin with {next(iter(weights))}.",
        )
    return int(weight.shape[0])


def _mismatch(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3] if len(lines) > 1 else lines)[:400] or type(error).__name__


def data_config(source: Mapping[str, object]) -> dict[str, Any]:
    """What the training says of timm's data config: under `data_config`, or its keys among the others of the config.

    Raises Permanent("unsupported") for a key or a value that timm does not know.
    """
    given = source.get("data_config", {key: value for key, value in source.items() if key in DATA_CONFIG})
    if not isinstance(given, Mapping) or set(given) - set(DATA_CONFIG):
        raise Permanent(
            "unsupported", f"config.data_config: {given!r} is not known.", hint=f"What works: {', '.join(DATA_CONFIG)}."
        )
    for key, value in given.items():
        if not DATA_CONFIG[key](value):
            raise Permanent("unsupported", f"config.{key}: {value!r} cannot be used.")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


def _numbers(value: object, count: int) -> bool:
    """Whether it is a list of that many numbers."""
    return isinstance(value, (list, tuple)) and len(value) == count and all(isinstance(n, (int, float)) for n in value)


DATA_CONFIG: dict[str, Callable[[Any], bool]] = {
    "input_size": lambda value: _numbers(value, 3) and all(isinstance(n, int) and n > 0 for n in value),
    "mean": lambda value: _numbers(value, 3),
    "std": lambda value: _numbers(value, 3) and 0 not in value,
    "interpolation": lambda value: isinstance(value, str),
    "crop_mode": lambda value: isinstance(value, str),
    "crop_pct": lambda value: isinstance(value, (int, float)) and 0 < value <= 1,
}


def _transform(config: dict[str, Any]) -> Any:
    crop, size = config["crop_mode"], config["input_size"][1:]
    if crop not in {"center", "squash"}:
        raise Permanent("unsupported", f"crop_mode {crop!r} cannot be exported.", hint="What works: center, squash.")
    if crop == "center" and size[0] != size[1]:
        raise Permanent(
            "unsupported", f"crop_mode 'center' to {list(size)} cannot be exported.",
            hint="What works: a square image_size, or crop_mode squash.",
        )  # fmt: skip
    if not 0 < float(config["crop_pct"]) <= 1:
        raise Permanent(
            "unsupported", f"crop_pct {config['crop_pct']} cannot be exported.", hint="What works: up to 1.0."
        )
    try:
        return create_transform(**config, is_training=False)
    except (KeyError, ValueError, AssertionError) as error:
        raise Permanent("unsupported", f"timm cannot build the transform of {config}: {error_line(error)}") from error
