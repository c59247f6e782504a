"""The table of all rewrites, in the order in which they are applied."""

import copy

import torch

from contracts.vocabulary import ExportFormat
from export_worker.rewrites.deformable import DEFORMABLE_ATTENTION
from export_worker.rewrites.pooling import ADAPTIVE_POOLING
from export_worker.rewrites.rewrite import Rewrite

REWRITES: tuple[Rewrite, ...] = (DEFORMABLE_ATTENTION, ADAPTIVE_POOLING)


def rewrite(module: torch.nn.Module, target: ExportFormat) -> tuple[str, ...]:
    """Apply in place what `target` needs of `module`, which must be a copy that nobody else runs; the names of what was applied."""
    return tuple(each.name for each in REWRITES if target in each.targets and each.apply(module))


def rewritten(module: torch.nn.Module, target: ExportFormat) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """What `target` can take, and the names of what was applied: the module itself, or a changed copy that shares its weights.

    For targets whose rewrites leave weights as they are.
    """
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    changed = copy.deepcopy(module, shared)
    names = rewrite(changed, target)
    return (changed, names) if names else (module, ())
