"""Untrained Ultralytics checkpoints of every task and generation: small, answering in a trained model's range, with something to find."""

from pathlib import Path

import torch

from contracts.vocabulary import Framework, TaskType

from .exporting import Case, randomise

MODELS = {
    "detect": ("DetectionModel", TaskType.OBJECT_DETECTION),
    "segment": ("SegmentationModel", TaskType.INSTANCE_SEGMENTATION),
    "classify": ("ClassificationModel", TaskType.IMAGE_CLASSIFICATION),
    "pose": ("PoseModel", TaskType.POSE_ESTIMATION),
    "obb": ("OBBModel", TaskType.ORIENTED_DETECTION),
}
"""Class and task of this product, by Ultralytics' word for a task."""
SIDE, CLASSES = 96, 4
GAIN = 2.0
"""On fresh convolutions, which else halve the signal layer by layer until the last ones answer the same to everything."""
SHARE = 0.02
"""Of all anchors whose score is made to pass the default threshold."""


def checkpoint(
    folder: Path, name: str, *, fused: bool = False, points: tuple[int, int] = (5, 3), side: int = SIDE
) -> Case:
    """`name` as "yolo11n-seg"; `fused` leaves a model with two heads the one that needs no suppression."""
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    given = tasks.yaml_model_load(f"{name}.yaml")
    given.update({"nc": CLASSES, "kpt_shape": list(points)} if "kpt_shape" in given else {"nc": CLASSES})
    word = tasks.guess_model_task(given)
    kind, task = MODELS[word]
    model = getattr(tasks, kind)(given, verbose=False)
    model.args, model.task = {"imgsz": side, "task": word}, word
    awaken(model, side)
    if fused:
        model.end2end = True
        model.fuse(verbose=False)
    path = folder / f"{name}{'-fused' * fused}-{points[1]}.pt"
    torch.save({"model": model, "train_args": model.args}, path)
    return Case(checkpoint=path, framework=Framework.ULTRALYTICS, task=task, model=name)


@torch.no_grad()
def awaken(model: torch.nn.Module, side: int) -> None:
    """Weights that keep the signal alive, last layers that answer in a trained model's range, class scores that a few anchors pass."""
    randomise(model)
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.mul_(GAIN)
    head = model.model[-1]
    branches = [each for name in ("cv3", "one2one_cv3") for each in getattr(head, name, None) or ()]
    scores = {id(branch[-1]) for branch in branches}
    for part in head.modules():
        answers = _answers(model, part, side) if isinstance(part, torch.nn.Conv2d) and part.bias is not None else []
        if answers:
            part.weight.mul_((3.0 if id(part) in scores else 1.5) / answers[0].std())
        if answers and id(part) in scores:
            part.bias.sub_(_answers(model, part, side)[0].quantile(1 - SHARE, dim=1) + 1.1)


def _answers(model: torch.nn.Module, part: torch.nn.Module, side: int) -> list[torch.Tensor]:
    """What a part of the model says of noise, [channel, place]; nothing where it is not asked."""
    kept: list[torch.Tensor] = []
    handle = part.register_forward_hook(lambda module, given, made: kept.append(made.transpose(0, 1).flatten(1)))
    coarse = torch.rand(4, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    model(torch.nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear"))
    handle.remove()
    return kept
