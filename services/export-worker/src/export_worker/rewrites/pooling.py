"""Adaptive average pooling to more than one place, as two matrix products: exporters know it only where sizes divide and are known."""

import torch

from contracts.vocabulary import ExportFormat
from export_worker.rewrites.rewrite import Rewrite


class PoolingMatrices(torch.nn.Module):
    """[N, C, H, W] to [N, C, h, w]; H and W are those of the run that is traced."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        rows, columns = (
            averages(int(side), bins).to(planes)
            for side, bins in zip(planes.shape[2:], (self.height, self.width), strict=True)
        )
        return rows @ planes @ columns.T


def averages(side: int, bins: int) -> torch.Tensor:
    """float32 [bins, side]: each row the mean of the places that its bin covers, as torch divides them among bins."""
    matrix = torch.zeros(bins, side)
    for row in range(bins):
        first, last = row * side // bins, -((row + 1) * side // -bins)
        matrix[row, first:last] = 1 / (last - first)
    return matrix


def _apply(module: torch.nn.Module) -> bool:
    """Every such pooling, also where a module keeps its parts in a plain list beside their names."""
    made: dict[int, PoolingMatrices] = {}
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            sides = _sides(part)
            if sides is not None:
                made[id(part)] = PoolingMatrices(*sides)
                setattr(parent, name, made[id(part)])
        for value in vars(parent).values():
            if isinstance(value, list):
                value[:] = [made.get(id(item), item) for item in value]
    return bool(made)


def _sides(part: torch.nn.Module) -> tuple[int, int] | None:
    """Height and width of what it pools to, where they are fixed and not 1 by 1."""
    if not isinstance(part, torch.nn.AdaptiveAvgPool2d):
        return None
    size = part.output_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return None if height is None or width is None or (height, width) == (1, 1) else (height, width)


ADAPTIVE_POOLING = Rewrite(
    name="adaptive_pooling_as_products",
    targets=frozenset({ExportFormat.ONNX, ExportFormat.COREML, ExportFormat.TFLITE}),
    reason="torch's ONNX exporter pools adaptively only to sizes that divide an input of known size",
    apply=_apply,
)
