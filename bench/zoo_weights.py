"""Random weights that answer like trained ones: a fresh model hides faults, as many of its layers multiply by zero or say nothing.

To be called without gradients.
"""

import re
from collections.abc import Callable

import torch

FAINT = 0.5
"""Of a linear layer's answer for each unit of its input: transformers begin below it, and then answer everything alike."""
LOUDEST = 4.0
"""By how much a last layer is made louder at most: what answers all queries alike must not be blown up to rounding errors."""
SHARE = 0.02
"""Of all places or queries whose score is made to pass the default threshold."""
Logits = Callable[[torch.nn.Module, torch.Tensor], object]


def awaken(model: torch.nn.Module) -> torch.nn.Module:
    """Normalisations as after training, no parameter left at one value, linear layers loud enough to tell inputs apart."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            gain = float(part.weight.std()) * part.in_features**0.5
            if 0.0 < gain < FAINT:
                part.weight.div_(gain)
    for parameter in model.parameters():
        if (
            parameter.is_floating_point()
            and parameter.numel() > 1
            and bool((parameter == parameter.flatten()[0]).all())
        ):
            _vary(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.75, 1.25)
    return model.eval()


def _vary(parameter: torch.Tensor) -> None:
    """Scales of one, zeros, and the tiny factors by which some blocks begin as the identity."""
    value = float(parameter.flatten()[0])
    if value == 0.0:
        parameter.normal_(0, 0.1)
    elif abs(value) < 0.1:
        parameter.uniform_(0.1, 0.4)
    else:
        parameter.mul_(torch.empty_like(parameter).uniform_(0.75, 1.25))


def awaken_yolo(model: torch.nn.Module, side: int) -> torch.nn.Module:
    """Convolutions that keep the signal alive, last layers that answer in a trained model's range, class scores that a few places pass."""
    awaken(model)
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.mul_(2.0)
    head = model.model[-1]
    branches = [each for name in ("cv3", "one2one_cv3") for each in getattr(head, name, None) or ()]
    scores = {id(branch[-1]) for branch in branches}
    for part in head.modules():
        if not isinstance(part, torch.nn.Conv2d) or part.bias is None:
            continue
        if answers := _answers(model, part, side):
            part.weight.mul_((3.0 if id(part) in scores else 1.5) / answers[0].std())
            if id(part) in scores:
                part.bias.sub_(_answers(model, part, side)[0].quantile(1 - SHARE, dim=1) + 1.1)
    return model


def awaken_queries(model: torch.nn.Module, side: int, loud: float = 3.0) -> torch.nn.Module:
    """Of a detector with queries: scores that differ from query to query."""
    awaken(model)
    for name, part in model.named_modules():
        if not isinstance(part, torch.nn.Linear) or not re.search(r"class|score", name):
            continue
        if answers := _answers(model, part, side):
            spread = answers[0].std(dim=1).mean().clamp_min(1e-4)
            part.weight.mul_(min(float(loud / spread), LOUDEST))
            part.bias.sub_(_answers(model, part, side)[0].mean(dim=1))
    return model


def _answers(model: torch.nn.Module, part: torch.nn.Module, side: int) -> list[torch.Tensor]:
    """What a part of the model says of noise, [channel, place]; nothing where it is not asked."""
    kept: list[torch.Tensor] = []
    channels_last = isinstance(part, torch.nn.Linear)
    axis = -1 if channels_last else 1
    handle = part.register_forward_hook(lambda module, given, made: kept.append(made.transpose(0, axis).flatten(1)))
    coarse = torch.rand(4, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    model(torch.nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear"))
    handle.remove()
    return kept
