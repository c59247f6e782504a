"""Trains a tiny RT-DETR to find one or two large, bright shapes: transformers learn to place boxes slowly."""

from pathlib import Path

import numpy as np
import torch
from transformers import BaseImageProcessor, PreTrainedModel, RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

from samples import evaluation, huggingface_training, scenes, shapes
from samples.evaluation import Predictor
from samples.overlaps import Prediction
from samples.recipes import SHAPES
from samples.scenes import Scene

IMAGE_SIZE = 64
TRAIN_PICTURES = 512
EPOCHS = 22
MAX_LR = 3e-3
CONFIG = RTDetrConfig(
    backbone_config=RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 96],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    ),
    freeze_backbone_batch_norms=False,
    encoder_hidden_dim=64,
    encoder_in_channels=[32, 64, 96],
    encoder_ffn_dim=128,
    encoder_attention_heads=4,
    hidden_expansion=0.5,
    d_model=64,
    num_queries=20,
    num_denoising=0,
    decoder_in_channels=[64, 64, 64],
    decoder_ffn_dim=128,
    decoder_layers=2,
    decoder_attention_heads=4,
    id2label=dict(enumerate(SHAPES)),
    label2id={name: index for index, name in enumerate(SHAPES)},
)
PREPROCESSOR = {
    "image_processor_type": "RTDetrImageProcessor",
    "do_resize": True,
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": False,
    "do_pad": False,
}


def train(folder: Path) -> dict[str, float]:
    """`model/` and `model.zip`; mAP50 on pictures of another seed."""
    processor = huggingface_training.processor(folder, PREPROCESSOR)
    learned, val = (
        list(scenes.draw(scenes.large, seed=seed, count=count, long_side=IMAGE_SIZE))
        for seed, count in ((shapes.TRAIN_SEED, TRAIN_PICTURES), (shapes.VAL_SEED, scenes.HELD_OUT))
    )
    model = RTDetrForObjectDetection(CONFIG)
    pictures, labels = huggingface_training.prepared(processor, learned), [_labels(scene) for scene in learned]

    def loss(chosen: torch.Tensor, is_mirrored: bool) -> torch.Tensor:
        x, y = pictures[chosen], [labels[int(number)] for number in chosen]
        if is_mirrored:
            x, y = x.flip(3), [_mirrored(label) for label in y]
        total: torch.Tensor = model(pixel_values=x, labels=y).loss
        return total

    huggingface_training.fit(model, loss, count=TRAIN_PICTURES, epochs=EPOCHS, max_lr=MAX_LR)
    huggingface_training.save(folder, model)
    return {"mAP50": evaluation.METRICS["object_detection"](predictor(model, processor), val)}


def predictor(model: PreTrainedModel, processor: BaseImageProcessor) -> Predictor:
    """The source's own answers, the doubtful as well, by its processor's own post-processing."""

    def predict(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[Prediction]:
        with torch.no_grad():
            outputs = model(**processor(images=picture, return_tensors="pt"))
        (found,) = processor.post_process_object_detection(outputs, threshold=0.001, target_sizes=[picture.shape[:2]])
        rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        return [Prediction(class_id=label, confidence=score, bbox=box) for label, score, box in rows]

    return predict


def _labels(scene: Scene) -> dict[str, torch.Tensor]:
    """Centre x, y, width and height as shares of the picture."""
    width, height = scene.size
    boxes = torch.tensor([truth.box for truth in scene.truths], dtype=torch.float32)
    boxes /= torch.tensor([width, height, width, height])
    centred = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)
    return {"class_labels": torch.tensor([truth.class_id for truth in scene.truths]), "boxes": centred}


def _mirrored(label: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    x, *rest = label["boxes"].unbind(dim=1)
    return {**label, "boxes": torch.stack([1 - x, *rest], dim=1)}
