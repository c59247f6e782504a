"""Which samples there are, and what a platform must be told about each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DIGITS = tuple("0123456789")
SHAPES = ("circle", "square", "triangle")
DIGITS_PX = 32
MEAN_STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`trainer` is `module:function` in this package, called in a process of its own with the folder to fill."""

    trainer: str
    checkpoint: str
    framework: str
    task_type: str
    model_name: str
    classes: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict)


RECIPES: Mapping[str, Recipe] = {
    "shapes-detector": Recipe(
        trainer="samples.detector:train",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="object_detection",
        model_name="yolo11n",
        classes=SHAPES,
    ),
    "digits-ultralytics": Recipe(
        trainer="samples.ultralytics_classifier:train",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="image_classification",
        model_name="yolo11n-cls",
        classes=DIGITS,
    ),
    "digits-timm": Recipe(
        trainer="samples.timm_classifier:train",
        checkpoint="model.pth",
        framework="timm",
        task_type="image_classification",
        model_name="resnet10t",
        classes=DIGITS,
        config={"input_size": [3, DIGITS_PX, DIGITS_PX], "mean": list(MEAN_STD), "std": list(MEAN_STD)},
    ),
    "digits-huggingface": Recipe(
        trainer="samples.huggingface_classifier:train",
        checkpoint="model.zip",
        framework="huggingface",
        task_type="image_classification",
        model_name="vit-digits",
        classes=DIGITS,
    ),
}
NAMES = tuple(RECIPES)
