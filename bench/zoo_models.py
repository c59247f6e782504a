"""The architectures of the zoo, and how a small checkpoint of each is made: random weights, awake."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from contracts.vocabulary import Framework, TaskType

CLASSIFY, DETECT = TaskType.IMAGE_CLASSIFICATION, TaskType.OBJECT_DETECTION
SEGMENT, POSE = TaskType.INSTANCE_SEGMENTATION, TaskType.POSE_ESTIMATION
OBB, SEMANTIC = TaskType.ORIENTED_DETECTION, TaskType.SEMANTIC_SEGMENTATION
CLASSES = 4


class Model(NamedTuple):
    """`make` writes the checkpoint of `name`, for pictures of `side` pixels, without gradients."""

    framework: Framework
    task: TaskType
    name: str
    side: int
    make: Callable[["Model", Path], Path]

    def build(self, folder: Path) -> Path:
        """The checkpoint of this model, in the folder."""
        import torch

        with torch.no_grad():
            return self.make(self, folder)

    @property
    def config(self) -> dict[str, object]:
        """What the training says of its pictures, where the checkpoint does not."""
        sized = {"input_size": [3, self.side, self.side], "crop_pct": 1.0}
        return sized if self.framework is Framework.TIMM else {}

    @property
    def label(self) -> str:
        """Unique in the zoo."""
        return f"{self.framework}/{self.name}"


def _yolo(model: Model, folder: Path) -> Path:
    import torch
    from ultralytics.nn import tasks

    from bench.zoo_weights import awaken, awaken_yolo

    torch.manual_seed(0)
    given: dict[str, Any] = tasks.yaml_model_load(f"{model.name}.yaml")
    given.update({"nc": CLASSES, **({"kpt_shape": [5, 3]} if "kpt_shape" in given else {})})
    word = tasks.guess_model_task(given)
    kinds = {
        "detect": "Detection",
        "segment": "Segmentation",
        "classify": "Classification",
        "pose": "Pose",
        "obb": "OBB",
    }
    made = getattr(tasks, f"{kinds[word]}Model")(given, verbose=False)
    made.args, made.task = {"imgsz": model.side, "task": word}, word
    awaken(made) if word == "classify" else awaken_yolo(made, model.side)
    path = folder / f"{model.name}.pt"
    torch.save({"model": made, "train_args": made.args}, path)
    return path


def _timm(model: Model, folder: Path) -> Path:
    import timm
    from safetensors.torch import save_file

    from bench.zoo_weights import awaken

    is_fixed = bool(timm.get_pretrained_cfg(model.name).fixed_input_size)
    sized = {"img_size": (model.side, model.side)} if is_fixed else {}
    made = awaken(timm.create_model(model.name, num_classes=CLASSES, **sized))
    path = folder / f"{model.name}.safetensors"
    save_file({name: value.contiguous().clone() for name, value in made.state_dict().items()}, path)
    return path


def _huggingface(head: str, processor: str, config: dict[str, Any], model: Model, folder: Path) -> Path:
    import transformers

    from bench.zoo_weights import awaken, awaken_queries

    transformers.set_seed(0)
    given = {name: value() if callable(value) else value for name, value in config.items()}
    made = getattr(transformers, f"{model.name.split('-')[0]}For{head}")(
        getattr(transformers, f"{model.name.split('-')[0]}Config")(num_labels=CLASSES, **given)
    )
    awaken_queries(made.eval(), model.side) if model.task is DETECT else awaken(made)
    path = folder / "model"
    made.save_pretrained(path)
    told = {
        "image_processor_type": f"{processor}ImageProcessor", "do_resize": True,
        "size": {"height": model.side, "width": model.side}, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_pad": False, "do_center_crop": False,
    }  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(told))
    return path


def yolo(name: str, side: int = 64) -> Model:
    tasks = {"seg": SEGMENT, "pose": POSE, "obb": OBB, "cls": CLASSIFY}
    return Model(Framework.ULTRALYTICS, tasks.get(name.partition("-")[2], DETECT), name, side, _yolo)


def timm_model(name: str, side: int = 64) -> Model:
    return Model(Framework.TIMM, CLASSIFY, name, side, _timm)


def hf(name: str, task: TaskType = CLASSIFY, processor: str = "ViT", side: int = 64, **config: Any) -> Model:
    """`name` is the prefix of transformers' classes; a callable among the values of `config` is called for the value."""
    head = {CLASSIFY: "ImageClassification", DETECT: "ObjectDetection", SEMANTIC: "SemanticSegmentation"}[task]

    def make(model: Model, folder: Path) -> Path:
        return _huggingface(head, processor, config, model, folder)

    return Model(Framework.HUGGINGFACE, task, name, side, make)


def _config(name: str, **fields: Any) -> Callable[[], Any]:
    """A configuration inside another, made when it is needed."""

    def make() -> Any:
        import transformers

        return getattr(transformers, f"{name}Config")(**fields)

    return make


RESNET: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
VIT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 64,
    "patch_size": 16,
}  # fmt: skip
SWIN: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
DETR: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 8, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "use_timm_backbone": False,
    "backbone": None, "use_pretrained_backbone": False,
}  # fmt: skip
ONE_SCALE = _config("ResNet", **RESNET, out_features=["stage4"])
THREE_SCALES = _config("ResNet", **RESNET, out_features=["stage2", "stage3", "stage4"])
FOUR_SCALES = _config("ResNet", **RESNET, out_features=["stage1", "stage2", "stage3", "stage4"])
RT_DETR: dict[str, Any] = {
    "backbone_config": _config("RTDetrResNet", **RESNET, out_features=["stage2", "stage3", "stage4"]),
    "encoder_hidden_dim": 16, "encoder_in_channels": [16, 24, 32], "encoder_ffn_dim": 32, "d_model": 16,
    "decoder_ffn_dim": 32, "num_queries": 8, "decoder_in_channels": [16, 16, 16], "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_denoising": 0,
}  # fmt: skip
BEIT: dict[str, Any] = {**VIT, "use_relative_position_bias": True, "use_auxiliary_head": False}

HUGGINGFACE = (
    hf("ViT", **VIT),
    hf("DeiT", **VIT),
    hf("Beit", **BEIT),
    hf("Dinov2", **{**VIT, "mlp_ratio": 2}),
    hf("Dinov2WithRegisters", **{**VIT, "mlp_ratio": 2}),
    hf("Swin", **SWIN),
    hf("Swinv2", **SWIN),
    hf("ResNet", **RESNET),
    hf("RegNet", embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], groups_width=8),
    hf("ConvNext", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=64),
    hf("ConvNextV2", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=64),
    hf("MobileNetV1", depth_multiplier=0.25, image_size=64),
    hf("MobileNetV2", depth_multiplier=0.25, image_size=64),
    hf("MobileViT", hidden_sizes=[24, 32, 40], neck_hidden_sizes=[8, 8, 16, 24, 32, 40, 80], image_size=64),
    hf("PvtV2", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4]),
    hf("PoolFormer", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    hf("SwiftFormer", side=64, depths=[1, 1, 1, 1], embed_dims=[8, 16, 24, 32]),
    hf("FocalNet", image_size=64, embed_dim=16, depths=[1, 1], hidden_sizes=[16, 32], focal_levels=[2, 2], focal_windows=[3, 3]),
    hf("Detr", DETECT, "Detr", 96, **DETR, backbone_config=ONE_SCALE),
    hf("ConditionalDetr", DETECT, "ConditionalDetr", 96, **DETR, backbone_config=ONE_SCALE),
    hf("DeformableDetr", DETECT, "DeformableDetr", 96, **DETR, backbone_config=THREE_SCALES, num_feature_levels=3),
    hf("RTDetr", DETECT, "RTDetr", **RT_DETR),
    hf("RTDetrV2", DETECT, "RTDetr", **RT_DETR),
    hf("Yolos", DETECT, "Yolos", 96, **{**VIT, "image_size": [96, 96]}, num_detection_tokens=8),
    hf(
        "Segformer", SEMANTIC, "Segformer", 64, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=32,
    ),
    hf(
        "UperNet", SEMANTIC, "Segformer", 64, backbone_config=FOUR_SCALES, hidden_size=16, pool_scales=[1, 2],
        use_auxiliary_head=False,
    ),
    hf(
        "DPT", SEMANTIC, "DPT", 64, **{**VIT, "num_hidden_layers": 4}, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 16, 16],
        fusion_hidden_size=16, use_auxiliary_head=False,
    ),
    hf("MobileNetV2-semantic", SEMANTIC, "Segformer", 64, depth_multiplier=0.25, image_size=64),
)  # fmt: skip

TASKS = ("", "-seg", "-pose", "-obb", "-cls")
ULTRALYTICS = (
    *(yolo(f"{family}n{task}") for family in ("yolov8", "yolo11", "yolo26") for task in TASKS),
    *map(yolo, ("yolov5n", "yolov6n", "yolov9t", "yolov10n", "yolo12n")),
)
TIMM = (
    *map(
        timm_model,
        (
            "resnet10t", "resnet18", "resnet26d", "skresnet18", "resnetv2_18", "repvgg_a0", "regnety_002", "densenet121",
            "dla46_c", "nf_regnet_b0", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035",
            "efficientnet_lite0", "tf_efficientnet_b0", "mixnet_s", "ghostnet_050", "tinynet_e", "mobileone_s0",
            "convnext_atto", "inception_next_atto", "edgenext_xx_small", "starnet_s050", "hgnetv2_b0", "mambaout_femto",
            "fastvit_t8", "poolformerv2_s12", "mobilevit_xxs", "mobilevitv2_050", "efficientvit_b0", "efficientvit_m0",
            "vit_tiny_patch16_224", "deit_tiny_patch16_224", "eva02_tiny_patch14_224", "cait_xxs24_224",
            "xcit_nano_12_p16_224", "pit_ti_224", "levit_128s", "mixer_s32_224", "test_coatnet", "test_maxvit", "pvt_v2_b0",
            "coat_lite_tiny", "crossvit_tiny_240", "lambda_resnet26t", "botnet26t_256", "volo_d1_224",
            "sequencer2d_s", "swin_tiny_patch4_window7_224",
        ),
    ),
    timm_model("halonet26t", 256),
)  # fmt: skip
ZOO = {model.label: model for model in (*ULTRALYTICS, *TIMM, *HUGGINGFACE)}
