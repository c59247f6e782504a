"""Which samples there are, and what a platform must be told about each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DIGITS = tuple("0123456789")
SHAPES = ("circle", "square", "triangle")
ROTATED = ("bar", "frame", "wedge")
PARTS = ("background", *SHAPES)
DIGITS_PX = 32
MEAN_STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`trainer` is `module:function` in this package, called in a process of its own with the folder to fill.

    `base` is the sample whose checkpoint the training starts from; the trainer finds it as `base` and its suffix.
    """

    trainer: str
    checkpoint: str
    framework: str
    task_type: str
    model_name: str
    classes: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    base: str | None = field(default=None, repr=False)


RECIPES: Mapping[str, Recipe] = {
    "shapes-detector": Recipe(
        trainer="samples.detector:train",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="object_detection",
        model_name="yolo11n",
        classes=SHAPES,
    ),
    "shapes-yolo26": Recipe(
        trainer="samples.yolo_tasks:nms_free",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="object_detection",
        model_name="yolo26n",
        classes=SHAPES,
        base="shapes-detector",
    ),
    "shapes-segmenter": Recipe(
        trainer="samples.yolo_tasks:segmenter",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="instance_segmentation",
        model_name="yolo11n-seg",
        classes=SHAPES,
        base="shapes-detector",
    ),
    "shapes-pose": Recipe(
        trainer="samples.yolo_tasks:poser",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="pose_estimation",
        model_name="yolo11n-pose",
        classes=SHAPES,
        base="shapes-detector",
    ),
    "shapes-oriented": Recipe(
        trainer="samples.yolo_tasks:orienter",
        checkpoint="model.pt",
        framework="ultralytics",
        task_type="oriented_detection",
        model_name="yolo11n-obb",
        classes=ROTATED,
        base="shapes-detector",
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
    "digits-timm-transformer": Recipe(
        trainer="samples.timm_transformer:train",
        checkpoint="model.pth",
        framework="timm",
        task_type="image_classification",
        model_name="test_vit",
        classes=DIGITS,
        config={
            "input_size": [3, DIGITS_PX, DIGITS_PX],
            "crop_pct": 1.0,
            "mean": list(MEAN_STD),
            "std": list(MEAN_STD),
        },
    ),
    "digits-huggingface": Recipe(
        trainer="samples.huggingface_classifier:train",
        checkpoint="model.zip",
        framework="huggingface",
        task_type="image_classification",
        model_name="vit-digits",
        classes=DIGITS,
    ),
    "shapes-rtdetr": Recipe(
        trainer="samples.huggingface_detector:train",
        checkpoint="model.zip",
        framework="huggingface",
        task_type="object_detection",
        model_name="rtdetr-shapes",
        classes=SHAPES,
    ),
    "shapes-segformer": Recipe(
        trainer="samples.huggingface_segmenter:segformer",
        checkpoint="model.zip",
        framework="huggingface",
        task_type="semantic_segmentation",
        model_name="segformer-shapes",
        classes=PARTS,
    ),
    "shapes-upernet": Recipe(
        trainer="samples.huggingface_segmenter:upernet",
        checkpoint="model.zip",
        framework="huggingface",
        task_type="semantic_segmentation",
        model_name="upernet-shapes",
        classes=PARTS,
    ),
}
NAMES = tuple(RECIPES)
