"""Untrained Ultralytics checkpoints of every task and generation: small, answering to what they see, and with something to find."""

from pathlib import Path

import torch

from contracts.vocabulary import Framework, TaskType

from .exporting import Case, randomise

TASKS = {
    "": TaskType.OBJECT_DETECTION,
    "-seg": TaskType.INSTANCE_SEGMENTATION,
    "-cls": TaskType.IMAGE_CLASSIFICATION,
    "-pose": TaskType.POSE_ESTIMATION,
    "-obb": TaskType.ORIENTED_DETECTION,
}
"""By what Ultralytics appends to a model's name."""
MODELS = {
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "classify": "ClassificationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
}
SIDE = 96
CLASSES, POINTS = 4, (5, 3)
GAIN = 2.0
SHARE = 0.02
"""Of all anchors whose score is made to pass the default threshold."""


def checkpoint(
    folder: Path, name: str, *, fused: bool = False, points: tuple[int, int] = POINTS, side: int = SIDE
) -> Case:
    """`name` as "yolo11n-seg"; `fused` leaves a model with two heads the one that needs no suppression."""
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    given = tasks.yaml_model_load(f"{name}.yaml")
    given.update({"nc": CLASSES, "kpt_shape": list(points)} if "kpt_shape" in given else {"nc": CLASSES})
    task = tasks.guess_model_task(given)
    model = getattr(tasks, MODELS[task])(given, verbose=False)
    model.args, model.task = {"imgsz": side, "task": task}, task
    awaken(model, side)
    if fused:
        model.end2end = True
        model.fuse(verbose=False)
    path = folder / f"{name}{'-fused' * fused}-{points[1]}.pt"
    torch.save({"model": model, "train_args": {"imgsz": side, "task": task}}, path)
    suffix = name[name.index("-") :] if "-" in name else ""
    return Case(checkpoint=path, framework=Framework.ULTRALYTICS, task=TASKS[suffix], model=name)


def awaken(model: torch.nn.Module, side: int) -> None:
    """Weights of a variance that keeps the signal alive, last layers that answer in a trained model's range, and class scores that a few
    anchors pass."""
    randomise(model)
    head = model.model[-1]
    scores = (
        {id(branch[-1]) for heads in (head.cv3, getattr(head, "one2one_cv3", None)) if heads for branch in heads}
        if hasattr(head, "cv3")
        else set()
    )
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.mul_(GAIN)
        for part in head.modules():
            if isinstance(part, torch.nn.Conv2d) and part.bias is not None:
                said = _answers(model, part, side)
                if not said:
                    continue
                part.weight.mul_(1.5 / said[0].std())
                if id(part) in scores:
                    part.bias.sub_(_answers(model, part, side)[0].quantile(1 - SHARE, dim=1) + 1.1)


def _answers(model: torch.nn.Module, part: torch.nn.Module, side: int) -> list[torch.Tensor]:
    """What a part of the model says of noise, [channel, place]; nothing where it is not asked."""
    kept: list[torch.Tensor] = []
    handle = part.register_forward_hook(lambda module, given, made: kept.append(made.transpose(0, 1).flatten(1)))
    coarse = torch.rand(4, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    model(torch.nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear"))
    handle.remove()
    return kept
