"""The trained models as their own frameworks run them: what every export of them is compared with."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from samples import huggingface_detector, huggingface_segmenter, overlaps, yolo_tasks
from samples.cache import Sample
from samples.evaluation import Predictor
from samples.overlaps import Prediction
from samples.recipes import DIGITS_PX

CONFIDENCE, IOU, DETECTIONS = 0.001, 0.7, 300
"""Thresholds that leave the doubtful in, as Ultralytics' own validation does."""


def source(sample: Sample, folder: Path) -> Predictor:
    """A predictor of the sample; `folder` is where an archive may be unpacked."""
    return SOURCES[sample.recipe.framework](sample, folder)


def _ultralytics(sample: Sample, folder: Path) -> Predictor:
    from ultralytics import YOLO

    model = YOLO(sample.checkpoint)
    size = DIGITS_PX if sample.recipe.task_type == "image_classification" else yolo_tasks.IMAGE_SIZE
    settings = {"imgsz": size, "conf": CONFIDENCE, "iou": IOU, "max_det": DETECTIONS, "rect": False, "device": "cpu"}

    def predict(picture: npt.NDArray[np.uint8]) -> list[Prediction]:
        (result,) = model.predict(picture[..., ::-1], retina_masks=True, verbose=False, **settings)
        if result.probs is not None:
            return [Prediction(class_id=int(result.probs.top1), confidence=float(result.probs.top1conf), bbox=None)]
        found = result.boxes if result.obb is None else result.obb
        predictions = [
            Prediction(class_id=int(name), confidence=float(confidence), bbox=box)
            for name, confidence, box in zip(found.cls, found.conf, found.xyxy.tolist(), strict=True)
        ]
        for number, prediction in enumerate(predictions):
            if result.obb is not None:
                prediction["rotated_box"] = result.obb.xywhr[number].tolist()
            if result.keypoints is not None:
                prediction["keypoints"] = result.keypoints.data[number].tolist()
            if result.masks is not None:
                prediction["mask"] = overlaps.runs(result.masks.data[number].numpy() > 0)
        return predictions

    return predict


def _timm(sample: Sample, folder: Path) -> Predictor:
    import timm
    from timm.data import create_transform, resolve_data_config

    recipe = sample.recipe
    fixed = {"img_size": DIGITS_PX} if recipe.model_name.startswith("test_vit") else {}
    model = timm.create_model(recipe.model_name, num_classes=len(recipe.classes), **fixed)
    model.load_state_dict(torch.load(sample.checkpoint, weights_only=True)["state_dict"])
    transform = create_transform(**resolve_data_config(dict(recipe.config), model=model))
    return _classifier(model.eval(), lambda picture: transform(Image.fromarray(picture))[None])


def _huggingface(sample: Sample, folder: Path) -> Predictor:
    from transformers import (
        AutoImageProcessor,
        AutoModelForImageClassification,
        AutoModelForObjectDetection,
        AutoModelForSemanticSegmentation,
    )

    with zipfile.ZipFile(sample.checkpoint) as archive:
        archive.extractall(folder)
    loaders = {
        "image_classification": AutoModelForImageClassification,
        "object_detection": AutoModelForObjectDetection,
        "semantic_segmentation": AutoModelForSemanticSegmentation,
    }
    model = loaders[sample.recipe.task_type].from_pretrained(folder, local_files_only=True).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    if sample.recipe.task_type == "image_classification":
        return _classifier(
            lambda images: model(pixel_values=images).logits,
            lambda picture: processor(images=picture, return_tensors="pt")["pixel_values"],
        )
    is_detector = sample.recipe.task_type == "object_detection"
    predictor_of = huggingface_detector.predictor if is_detector else huggingface_segmenter.predictor
    return predictor_of(model, processor)


def _classifier(
    model: Callable[[torch.Tensor], torch.Tensor], prepare: Callable[[npt.NDArray[np.uint8]], torch.Tensor]
) -> Predictor:
    def predict(picture: npt.NDArray[np.uint8]) -> list[Prediction]:
        with torch.no_grad():
            confidence, name = model(prepare(picture)).softmax(1)[0].max(0)
        return [Prediction(class_id=int(name), confidence=float(confidence), bbox=None)]

    return predict


SOURCES: Mapping[str, Callable[[Sample, Path], Predictor]] = {
    "ultralytics": _ultralytics,
    "timm": _timm,
    "huggingface": _huggingface,
}
