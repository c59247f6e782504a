"""Honest checkpoints of every framework, made when they are needed: tiny untrained models in every file that people upload."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
import transformers
from safetensors.torch import save_file
from ultralytics import YOLO

from contracts.vocabulary import Framework, TaskType
from tests.attack.checkpoints.arena import Model

CLASSES = 3
Build = Callable[[Path], Model]


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Normalisations as after training; fresh ones make every picture alike."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._NormBase) and part.affine:
            part.weight.data.uniform_(0.75, 1.25)
            part.bias.data.normal_(0, 0.1)
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.75, 1.25)
    return model.eval()


def of_timm(folder: Path, *, name: str, suffix: str, wrap: str = "", prefix: str = "", side: int = 64) -> Model:
    torch.manual_seed(0)
    model = randomised(timm.create_model(name, num_classes=CLASSES))
    weights = {f"{prefix}{key}": value.clone() for key, value in model.state_dict().items()}
    path = folder / f"model{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({wrap: weights, "epoch": 3} if wrap else weights, path)
    return Model(path=path, framework=Framework.TIMM, name=name, size=(side, side))


def of_ultralytics(folder: Path, *, name: str, half: bool = False) -> Model:
    torch.manual_seed(0)
    yolo = YOLO(f"{name}.yaml")
    randomised(yolo.model)
    if half:
        yolo.model.half()
    path = folder / f"{name}.pt"
    yolo.save(path)
    task = TaskType.IMAGE_CLASSIFICATION if name.endswith("-cls") else TaskType.OBJECT_DETECTION
    return Model(path=path, framework=Framework.ULTRALYTICS, task=task, name=name)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
HUGGING_FACE: dict[str, dict[str, object]] = {
    "ViT": {**SMALL, "image_size": 64, "patch_size": 16},
    "DeiT": {**SMALL, "image_size": 64, "patch_size": 16},
    "ResNet": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
    "ConvNext": {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]},
    "RegNet": {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "groups_width": 16},
    "MobileNetV2": {"depth_multiplier": 0.35},
}


def of_hugging_face(folder: Path, *, name: str, pickled: bool = False, inside: str = "") -> Model:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **HUGGING_FACE[name])
    model = randomised(getattr(transformers, f"{name}ForImageClassification")(config))
    root = folder / "model"
    saved = root / inside
    model.save_pretrained(saved)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(saved)
    (saved / "README.md").write_text("# a model\n")
    if pickled:
        (saved / "model.safetensors").unlink()
        torch.save(model.state_dict(), saved / "pytorch_model.bin")
    path = Path(shutil.make_archive(str(folder / "packed"), "zip", root))
    return Model(path=path, framework=Framework.HUGGINGFACE, name=name)


HONEST: dict[str, Build] = {
    **{
        f"timm {name} {suffix}": partial(of_timm, name=name, suffix=suffix, side=side)
        for name, suffix, side in (
            ("resnet10t", ".pth", 64), ("resnet10t", ".safetensors", 64), ("resnet18", ".pt", 64),
            ("test_resnet", ".pt", 64), ("test_convnext", ".pth", 64), ("test_efficientnet", ".safetensors", 64),
            ("test_vit", ".pth", 160), ("test_byobnet", ".safetensors", 64), ("mobilenetv3_small_050", ".safetensors", 64),
            ("lcnet_050", ".pth", 64), ("mnasnet_small", ".pt", 64), ("tinynet_e", ".safetensors", 64),
            ("regnetx_002", ".pth", 64), ("mobilenetv2_035", ".pt", 64),
        )
    },
    "timm under state_dict": partial(of_timm, name="test_resnet", suffix=".pth", wrap="state_dict"),
    "timm under model": partial(of_timm, name="test_resnet", suffix=".pt", wrap="model"),
    "timm averaged": partial(of_timm, name="test_resnet", suffix=".pth", wrap="state_dict_ema"),
    "timm of several GPUs": partial(of_timm, name="test_resnet", suffix=".pth", prefix="module."),
    "timm compiled": partial(of_timm, name="test_resnet", suffix=".safetensors", prefix="_orig_mod."),
    **{
        f"Ultralytics {name}": partial(of_ultralytics, name=name)
        for name in ("yolo11n", "yolov8n", "yolov5n", "yolo11n-cls", "yolov8n-cls")
    },
    "Ultralytics in half precision": partial(of_ultralytics, name="yolo11n-cls", half=True),
    **{f"Hugging Face {name}": partial(of_hugging_face, name=name) for name in HUGGING_FACE},
    "Hugging Face pickled": partial(of_hugging_face, name="ViT", pickled=True),
    "Hugging Face in a folder": partial(of_hugging_face, name="ResNet", inside="deeper/vit"),
}  # fmt: skip
OFTEN = ("timm test_resnet .pt", "timm resnet10t .safetensors", "Ultralytics yolo11n-cls", "Hugging Face pickled")
