"""Small Hugging Face models of every task, with random weights that answer differently to different pictures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from .exporting import randomise

SIDE = {"height": 96, "width": 96}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
DETR = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 12, "num_labels": 5,
}  # fmt: skip


def detr() -> tuple[Any, Any]:
    backbone = hf.ResNetConfig(**RESNET, out_features=["stage4"])
    config = hf.DetrConfig(use_timm_backbone=False, backbone_config=backbone, backbone=None, **DETR)
    size = {"shortest_edge": 96, "longest_edge": 160}
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size=size)


def conditional_detr() -> tuple[Any, Any]:
    backbone = hf.ResNetConfig(**RESNET, out_features=["stage4"])
    config = hf.ConditionalDetrConfig(use_timm_backbone=False, backbone_config=backbone, backbone=None, **DETR)
    size = {"max_height": 96, "max_width": 96}
    return hf.ConditionalDetrForObjectDetection(config), hf.ConditionalDetrImageProcessor(size=size, pad_size=SIDE)


def rt_detr() -> tuple[Any, Any]:
    config = hf.RTDetrConfig(
        backbone_config=hf.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"]),
        encoder_hidden_dim=32, encoder_in_channels=[32, 32, 64], encoder_ffn_dim=48, encoder_attention_heads=4,
        d_model=32, num_queries=12, decoder_in_channels=[32, 32, 32], decoder_ffn_dim=48, decoder_layers=1,
        decoder_attention_heads=4, num_labels=5,
    )  # fmt: skip
    return hf.RTDetrForObjectDetection(config), hf.RTDetrImageProcessor(size=SIDE)


def yolos() -> tuple[Any, Any]:
    config = hf.YolosConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, image_size=[96, 128],
        num_detection_tokens=12, num_labels=5,
    )  # fmt: skip
    return hf.YolosForObjectDetection(config), hf.YolosImageProcessor(size={"shortest_edge": 80, "longest_edge": 160})


def segformer() -> tuple[Any, Any]:
    config = hf.SegformerConfig(
        hidden_sizes=[16, 32, 32, 48], depths=[1, 1, 1, 1], decoder_hidden_size=32, num_labels=6
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SIDE, do_reduce_labels=True)


def upernet() -> tuple[Any, Any]:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = hf.ConvNextConfig(hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], out_features=stages)
    config = hf.UperNetConfig(backbone_config=backbone, hidden_size=32, use_auxiliary_head=False, num_labels=6)
    return hf.UperNetForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SIDE)


def mobilevit() -> tuple[Any, Any]:
    config = hf.MobileViTConfig(
        image_size=96, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 16, 16, 24, 24, 32, 48], aspp_out_channels=16,
        num_labels=6,
    )  # fmt: skip
    size = {"shortest_edge": 104}
    return hf.MobileViTForSemanticSegmentation(config), hf.MobileViTImageProcessor(size=size, crop_size=SIDE)


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "detr": detr, "conditional_detr": conditional_detr, "rt_detr": rt_detr, "yolos": yolos,
    "segformer": segformer, "upernet": upernet, "mobilevit": mobilevit,
}  # fmt: skip


def packed(name: str, folder: Path) -> Path:
    """A zip of the model's folder, as users give it."""
    torch.manual_seed(0)
    model, processor = MODELS[name]()
    randomise(model)
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.weight.data *= 3
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    return Path(shutil.make_archive(str(folder / name), "zip", folder / name))
