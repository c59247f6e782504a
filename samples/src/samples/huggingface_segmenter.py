"""Trains a tiny SegFormer and a tiny UPerNet to name the pixels of large, bright shapes."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    BaseImageProcessor,
    PreTrainedModel,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from samples import evaluation, huggingface_training, overlaps, scenes, shapes
from samples.evaluation import Predictor
from samples.overlaps import Prediction
from samples.recipes import MEAN_STD, PARTS
from samples.scenes import Scene

IMAGE_SIZE = 96
TRAIN_PICTURES = 192
EPOCHS = 16
MAX_LR = 4e-3
WEIGHTS = (0.4, 1.0, 1.0, 1.0)
"""Of the classes in the loss: there is much more ground than anything else."""
NAMES = {"id2label": dict(enumerate(PARTS)), "label2id": {name: index for index, name in enumerate(PARTS)}}
SEGFORMER = SegformerConfig(
    num_encoder_blocks=3,
    depths=[1, 1, 1],
    sr_ratios=[4, 2, 1],
    hidden_sizes=[32, 48, 64],
    patch_sizes=[7, 3, 3],
    strides=[4, 2, 2],
    num_attention_heads=[1, 2, 4],
    mlp_ratios=[2, 2, 2],
    decoder_hidden_size=64,
    classifier_dropout_prob=0.0,
    drop_path_rate=0.0,
    **NAMES,
)
UPERNET = UperNetConfig(
    backbone_config=ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    ),
    hidden_size=48,
    pool_scales=[1, 2, 3],
    use_auxiliary_head=False,
    **NAMES,
)
PREPROCESSOR = {
    "image_processor_type": "SegformerImageProcessor",
    "do_resize": True,
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(MEAN_STD),
    "image_std": list(MEAN_STD),
    "do_reduce_labels": False,
}


def segformer(folder: Path) -> dict[str, float]:
    """`model/` and `model.zip`; mean IoU of the four classes on pictures of another seed."""
    return _train(folder, SegformerForSemanticSegmentation(SEGFORMER))


def upernet(folder: Path) -> dict[str, float]:
    """The same with UPerNet on a ResNet."""
    return _train(folder, UperNetForSemanticSegmentation(UPERNET))


def _train(folder: Path, model: PreTrainedModel) -> dict[str, float]:
    processor = huggingface_training.processor(folder, PREPROCESSOR)
    train, val = (
        list(scenes.draw(scenes.large, seed=seed, count=count, long_side=IMAGE_SIZE))
        for seed, count in ((shapes.TRAIN_SEED, TRAIN_PICTURES), (shapes.VAL_SEED, scenes.HELD_OUT))
    )
    pictures, labels = huggingface_training.prepared(processor, train), torch.stack([_labels(scene) for scene in train])
    weights = torch.tensor(WEIGHTS)

    def loss(chosen: torch.Tensor, is_mirrored: bool) -> torch.Tensor:
        x, y = pictures[chosen], labels[chosen]
        if is_mirrored:
            x, y = x.flip(3), y.flip(2)
        found = torch.nn.functional.interpolate(model(pixel_values=x).logits, size=y.shape[1:], mode="bilinear")
        return torch.nn.functional.cross_entropy(found, y, weight=weights)

    huggingface_training.fit(model, loss, count=TRAIN_PICTURES, epochs=EPOCHS, max_lr=MAX_LR)
    huggingface_training.save(folder, model)
    return {"mIoU": evaluation.mean_iou(predictor(model, processor), val)}


def predictor(model: PreTrainedModel, processor: BaseImageProcessor) -> Predictor:
    """The source's own answers: its processor brings the maps to the picture's size."""

    def predict(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[Prediction]:
        with torch.no_grad():
            outputs = model(**processor(images=picture, return_tensors="pt"))
        (found,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[picture.shape[:2]])
        labels = found.numpy()
        return [
            Prediction(class_id=int(name), confidence=1.0, bbox=None, mask=overlaps.runs(labels == name))
            for name in np.unique(labels)
        ]

    return predict


def _labels(scene: Scene) -> torch.Tensor:
    labels = Image.fromarray(scene.label_map().astype(np.uint8))
    resized = labels.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized)).long()
