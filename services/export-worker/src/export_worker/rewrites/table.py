"""The table of all rewrites, in the order in which they are applied."""

import torch

from contracts.vocabulary import ExportFormat
from export_worker.rewrites.deformable import DEFORMABLE_ATTENTION
from export_worker.rewrites.rewrite import Rewrite

REWRITES: tuple[Rewrite, ...] = (DEFORMABLE_ATTENTION,)


def rewrite(module: torch.nn.Module, target: ExportFormat) -> tuple[str, ...]:
    """Apply in place what `target` needs of `module`, which must be a copy that nobody else runs; the names of what was applied."""
    return tuple(each.name for each in REWRITES if target in each.targets and each.apply(module))
