"""Deformable attention in tensors of at most five dimensions, which is all that Core ML has."""

from types import MethodType
from typing import Any

import torch
from torch.nn import functional

from contracts.vocabulary import ExportFormat
from export_worker.rewrites.rewrite import Rewrite

CLASSES = frozenset({"RTDetrMultiscaleDeformableAttention", "DeformableDetrMultiscaleDeformableAttention"})
"""Of transformers; they say the same in tensors of six dimensions."""


def attend(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    encoder_hidden_states: Any = None,
    encoder_attention_mask: Any = None,
    position_embeddings: torch.Tensor | None = None,
    reference_points: Any = None,
    spatial_shapes: Any = None,
    spatial_shapes_list: Any = None,
    level_start_index: Any = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The module's forward with the heads joined to the batch from the start, in the same order of arithmetic."""
    if position_embeddings is not None:
        hidden_states = hidden_states + position_embeddings
    batch, queries, _ = hidden_states.shape
    heads, levels, points = self.n_heads, self.n_levels, self.n_points
    value = self.value_proj(encoder_hidden_states)
    if attention_mask is not None:
        value = value.masked_fill(~attention_mask[..., None], float(0))
    values = value.split([height * width for height, width in spatial_shapes_list], dim=1)
    offsets = _by_head(self.sampling_offsets(hidden_states), heads)
    weights = functional.softmax(_by_head(self.attention_weights(hidden_states), heads), -1)
    found = []
    for level, (height, width) in enumerate(spatial_shapes_list):
        own = offsets[..., level * points * 2 : (level + 1) * points * 2].reshape(batch * heads, queries, points, 2)
        reference = reference_points[:, :, min(level, reference_points.shape[2] - 1)].repeat_interleave(heads, 0)
        places = _places(reference.unsqueeze(2), own, points, height, width)
        picture = values[level].transpose(1, 2).reshape(batch * heads, -1, height, width)
        found.append(functional.grid_sample(picture, 2 * places - 1, mode="bilinear", align_corners=False))
    weighted = (torch.cat(found, -1) * weights.reshape(batch * heads, 1, queries, levels * points)).sum(-1)
    output = self.output_proj(weighted.reshape(batch, -1, queries).transpose(1, 2).contiguous())
    return output, weights


def _by_head(made: torch.Tensor, heads: int) -> torch.Tensor:
    """[N, Q, heads * K] to [N * heads, Q, K]."""
    batch, queries, _ = made.shape
    return made.reshape(batch, queries, heads, -1).transpose(1, 2).reshape(batch * heads, queries, -1)


def _places(reference: torch.Tensor, offsets: torch.Tensor, points: int, height: int, width: int) -> torch.Tensor:
    """Where to look, as fractions of the level's size: around points (two numbers) or within boxes (four)."""
    if reference.shape[-1] == 2:
        return reference + offsets / torch.tensor([width, height], dtype=offsets.dtype)
    return reference[..., :2] + offsets / points * reference[..., 2:] * 0.5


def _apply(module: torch.nn.Module) -> bool:
    parts = [part for part in module.modules() if type(part).__name__ in CLASSES]
    for part in parts:
        part.forward = MethodType(attend, part)
    return bool(parts)


DEFORMABLE_ATTENTION = Rewrite(
    name="deformable_attention_in_five_dimensions",
    targets=frozenset({ExportFormat.COREML}),
    reason="Core ML has tensors of at most five dimensions; RT-DETR and Deformable DETR place their samples in six.",
    apply=_apply,
)
