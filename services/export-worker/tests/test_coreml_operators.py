"""Every operator of the evaluator against torch or numpy, which say the same in words of their own."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from contracts.errors import Permanent
from export_worker.runtimes.coreml.arguments import Arguments
from export_worker.runtimes.coreml.operators import OPERATORS

R = torch.Generator().manual_seed(0)


def r(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=R)


def i(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


class Of(NamedTuple):
    """What an operator is given, and what it should make of it."""

    operator: str
    given: dict[str, object]
    expected: object


X = r(2, 3, 6, 8)
P = r(2, 3, 6, 8).abs() + 0.1
V = torch.tensor([0.5, -1.0, 2.0])
M = r(4, 5)
B = M > 0
N = torch.tensor([[3, 1, 2], [0, 5, 4]], dtype=torch.int32)
W = r(4, 3, 3, 3)
GRID = r(2, 4, 5, 2) / 2
UNARY = (
    "abs",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "floor",
    "round",
    "sign",
    "sin",
    "sinh",
    "square",
    "tan",
    "tanh",
)
COMPARED = {"equal": "eq", "not_equal": "ne", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le"}
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "real_div": "div", "maximum": "maximum", "minimum": "minimum",
          "floor_div": "floor_divide", "mod": "remainder", "pow": "pow"}  # fmt: skip

ACTIVATIONS = [
    Of("relu", {"x": X}, X.clamp(min=0)),
    Of("relu6", {"x": 9 * X}, (9 * X).clamp(0, 6)),
    Of("leaky_relu", {"x": X, "alpha": 0.2}, torch.where(X > 0, X, 0.2 * X)),
    Of("prelu", {"x": X, "alpha": V}, functional.prelu(X, V)),
    Of("elu", {"x": X, "alpha": 0.7}, functional.elu(X, 0.7)),
    Of("clamped_relu", {"x": X, "alpha": 0.1, "beta": 0.5}, torch.where(X >= 0, X, 0.1 * X).clamp(max=0.5)),
    Of("thresholded_relu", {"x": X, "alpha": 0.3}, X * (X >= 0.3)),
    Of("gelu", {"x": X}, functional.gelu(X)),
    Of("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}, functional.gelu(X, approximate="tanh")),
    Of("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}, X / (1 + torch.exp(-1.702 * X))),
    Of("sigmoid", {"x": X}, 1 / (1 + torch.exp(-X))),
    Of("sigmoid_hard", {"x": X, "alpha": 1 / 6, "beta": 0.5}, functional.hardsigmoid(X)),
    Of("silu", {"x": X}, X * torch.sigmoid(X)),
    Of("softplus", {"x": X}, torch.log1p(torch.exp(X))),
    Of("softplus_parametric", {"x": X, "alpha": V, "beta": V + 3},
       V.view(3, 1, 1) * torch.log1p(torch.exp((V + 3).view(3, 1, 1) * X))),
    Of("softsign", {"x": X}, X / (1 + X.abs())),
    Of("scaled_tanh", {"x": X, "alpha": 2.0, "beta": 0.5}, 2 * torch.tanh(0.5 * X)),
    Of("linear_activation", {"x": X, "alpha": 2.0, "beta": 0.5}, 2 * X + 0.5),
    Of("softmax", {"x": X, "axis": 1}, X.exp() / X.exp().sum(1, keepdim=True)),
]  # fmt: skip
ARITHMETIC = [
    *(Of(name, {"x": X}, getattr(torch, name)(X)) for name in UNARY),
    *(Of(name, {"x": M.clamp(-0.9, 0.9)}, getattr(torch, name)(M.clamp(-0.9, 0.9))) for name in ("acos", "asin", "atan", "atanh")),
    *(Of(name, {"x": P, "y": P.flip(0)}, getattr(torch, word)(P, P.flip(0))) for name, word in BINARY.items()),
    *(Of(name, {"x": N, "y": N.flip(1)}, getattr(torch, word)(N, N.flip(1))) for name, word in COMPARED.items()),
    Of("sqrt", {"x": P}, P**0.5),
    Of("rsqrt", {"x": P, "epsilon": 1e-3}, (P + 1e-3) ** -0.5),
    Of("inverse", {"x": P, "epsilon": 1e-3}, 1 / (P + 1e-3)),
    Of("log", {"x": P}, P.log()),
    Of("logical_and", {"x": B, "y": ~B.flip(0)}, B & ~B.flip(0)),
    Of("logical_or", {"x": B, "y": B.flip(0)}, B | B.flip(0)),
    Of("logical_xor", {"x": B, "y": B.flip(0)}, B ^ B.flip(0)),
    Of("logical_not", {"x": B}, ~B),
    Of("threshold", {"x": X, "alpha": 0.2}, X.clamp(min=0.2)),
    Of("clip", {"x": X, "alpha": -0.3, "beta": 0.4}, X.clamp(-0.3, 0.4)),
    Of("cast", {"x": torch.tensor([-1.7, 1.7]), "dtype": "int32"}, i(-1, 1)),
    Of("cast", {"x": i(0, 2), "dtype": "bool"}, torch.tensor([False, True])),
    Of("identity", {"x": X}, X),
    Of("select", {"cond": B, "a": M, "b": -M}, M.abs()),
]  # fmt: skip
LINEAR = [
    Of("conv", {"x": X, "weight": W, "pad_type": "custom", "pad": i(1, 0, 2, 1), "strides": i(2, 1)},
       functional.conv2d(functional.pad(X, (2, 1, 1, 0)), W, stride=(2, 1))),
    Of("conv", {"x": X, "weight": W, "bias": r(4) * 0 + 1, "pad_type": "same", "dilations": i(2, 2)},
       functional.conv2d(X, W, torch.ones(4), padding=2, dilation=2)),
    Of("conv", {"x": X, "weight": W[..., :2], "pad_type": "same_lower"},
       functional.conv2d(functional.pad(X, (1, 0, 1, 1)), W[..., :2])),
    Of("conv", {"x": X, "weight": W[:3, :1], "groups": 3}, functional.conv2d(X, W[:3, :1], groups=3)),
    Of("conv_transpose", {"x": X, "weight": W.transpose(0, 1), "bias": V.repeat(2)[:4], "strides": i(2, 2), "pad_type": "custom",
                          "pad": i(1, 1, 1, 1), "output_shape": i(2, 4, 12, 16)},
       functional.conv_transpose2d(X, W.transpose(0, 1), V.repeat(2)[:4], 2, padding=1, output_padding=1)),
    Of("conv_transpose", {"x": X, "weight": W.transpose(0, 1)}, functional.conv_transpose2d(X, W.transpose(0, 1))),
    Of("linear", {"x": M, "weight": r(3, 5) * 0 + 0.5, "bias": V}, 0.5 * M.sum(1, keepdim=True) + V),
    Of("matmul", {"x": M, "y": M, "transpose_y": True}, M @ M.T),
    Of("matmul", {"x": M, "y": M, "transpose_x": True}, M.T @ M),
    Of("einsum", {"values": [X, X], "equation": "nchw,nchk->nchwk"}, X.unsqueeze(-1) * X.unsqueeze(-2)),
    Of("scaled_dot_product_attention", {"query": X, "key": X, "value": X}, (X @ X.mT / 8**0.5).softmax(-1) @ X),
    Of("batch_norm", {"x": X, "mean": V, "variance": V.abs(), "gamma": V, "beta": V, "epsilon": 1e-3},
       ((X.movedim(1, -1) - V) / (V.abs() + 1e-3).sqrt() * V + V).movedim(-1, 1)),
    Of("instance_norm", {"x": X, "gamma": V, "beta": V}, functional.instance_norm(X, weight=V, bias=V)),
    Of("layer_norm", {"x": X, "axes": i(-1), "gamma": r(8) * 0 + 2, "beta": r(8) * 0 + 1, "epsilon": 1e-3},
       functional.layer_norm(X, (8,), eps=1e-3) * 2 + 1),
    Of("layer_norm", {"x": X, "axes": i(1), "gamma": V}, functional.layer_norm(X.movedim(1, -1), (3,), V).movedim(-1, 1)),
    Of("l2_norm", {"x": X, "epsilon": 1e-6}, X / (X.flatten(1).square().sum(1) + 1e-6).sqrt().view(2, 1, 1, 1)),
    Of("local_response_norm", {"x": X, "size": 3, "alpha": 0.1, "beta": 0.7, "k": 1.0}, functional.local_response_norm(X, 3, 0.1, 0.7, 1.0)),
    Of("max_pool", {"x": X, "kernel_sizes": i(3, 3), "strides": i(2, 2), "pad_type": "custom", "pad": i(1, 1, 1, 1), "ceil_mode": True},
       functional.max_pool2d(X, 3, 2, 1, ceil_mode=True)),
    Of("max_pool", {"x": X, "kernel_sizes": i(2, 2), "pad_type": "same"},
       functional.max_pool2d(functional.pad(X, (0, 1, 0, 1), value=float("-inf")), 2, 1)),
    Of("avg_pool", {"x": X, "kernel_sizes": i(3, 3), "pad_type": "custom", "pad": i(1, 1, 1, 1), "exclude_padding_from_average": True},
       functional.avg_pool2d(X, 3, 1, 1, count_include_pad=False)),
    Of("avg_pool", {"x": torch.ones(1, 1, 3, 3), "kernel_sizes": i(2, 2), "pad_type": "same", "exclude_padding_from_average": True},
       torch.ones(1, 1, 3, 3)),
    Of("avg_pool", {"x": torch.ones(1, 1, 3, 3), "kernel_sizes": i(2, 2), "pad_type": "same_lower"},
       torch.tensor([[0.25, 0.5, 0.5], [0.5, 1, 1], [0.5, 1, 1]])[None, None]),
]  # fmt: skip
RESIZING = [
    Of("upsample_bilinear", {"x": X, "scale_factor_height": 2.0, "scale_factor_width": 1.5, "align_corners": False},
       functional.interpolate(X, (12, 12), mode="bilinear", align_corners=False)),
    Of("upsample_bilinear", {"x": X, "scale_factor_height": 2, "scale_factor_width": 2},
       functional.interpolate(X, (12, 16), mode="bilinear", align_corners=True)),
    Of("upsample_nearest_neighbor", {"x": X, "scale_factor_height": 2.0, "scale_factor_width": 2.0}, X.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    Of("resize_nearest_neighbor", {"x": X, "target_size_height": 4, "target_size_width": 5}, functional.interpolate(X, (4, 5))),
    *(Of("resize_bilinear", {"x": torch.tensor([[[0.0, 1.0]]]), "target_size_height": 1, "target_size_width": 5, "sampling_mode": mode},
         torch.tensor([[line]]))
      for mode, line in {"UNALIGN_CORNERS": [0.0, 0.1, 0.5, 0.9, 1.0], "STRICT_ALIGN_CORNERS": [0, 0.25, 0.5, 0.75, 1],
                         "DEFAULT": [0, 0.4, 0.8, 1, 1], "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9]}.items()),
    Of("resize_bilinear", {"x": torch.tensor([[[0.0, 1.0]]]), "sampling_mode": "ALIGN_CORNERS"}, torch.tensor([[[0.5]]])),
    Of("resize", {"x": X, "shape": i(12, 0), "resized_dims": 2, "sampling_mode": "UNALIGN_CORNERS"},
       functional.interpolate(X, (12, 8), mode="bilinear", align_corners=False)),
    Of("resample", {"x": X, "coordinates": GRID, "sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0,
                    "coordinates_mode": "normalized_minus_one_to_one", "align_corners": False},
       functional.grid_sample(X, GRID, align_corners=False)),
    Of("resample", {"x": X, "coordinates": torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]]), "sampling_mode": "nearest", "padding_mode": "border",
                    "coordinates_mode": "unnormalized", "align_corners": True},
       torch.stack([X[0, :, 2, 1], X[1, :, 4, 3]])[..., None, None]),
    Of("crop", {"x": X, "crop_height": i(1, 2), "crop_width": i(0, 3)}, X[..., 1:4, :5]),
]  # fmt: skip
SHAPES = [
    Of("reshape", {"x": X, "shape": i(0, -1, 8)}, X.reshape(2, 18, 8)),
    Of("expand_dims", {"x": M, "axes": i(0, -1)}, M[None, ..., None]),
    Of("squeeze", {"x": M[None, :, None], "axes": i(0)}, M[:, None]),
    Of("squeeze", {"x": M[None, :, None]}, M),
    Of("concat", {"values": [M, M + 1], "axis": 1}, torch.cat([M, M + 1], 1)),
    Of("concat", {"values": [M, M + 1], "axis": 0, "interleave": True}, torch.stack([M, M + 1], 1).reshape(8, 5)),
    Of("stack", {"values": [M, M + 1], "axis": -1}, torch.stack([M, M + 1], -1)),
    Of("split", {"x": X, "axis": 3, "split_sizes": i(3, 5)}, [X[..., :3], X[..., 3:]]),
    Of("split", {"x": X, "axis": 3, "num_splits": 2}, [X[..., :4], X[..., 4:]]),
    Of("slice_by_index", {"x": M, "begin": i(1, -2), "end": i(9, 0), "stride": i(2, 1), "end_mask": torch.tensor([False, True])}, M[1:9:2, -2:]),
    Of("slice_by_index", {"x": M, "begin": i(-1, 0), "end": i(0, -1), "squeeze_mask": torch.tensor([True, False])}, M[-1, 0:-1]),
    Of("slice_by_index", {"x": M, "begin": i(0, 4), "end": i(4, 0), "stride": i(1, -2), "end_mask": torch.tensor([False, True])}, M[:, [4, 2, 0]]),
    Of("slice_by_size", {"x": M, "begin": i(1, -2), "size": i(2, -1)}, M[1:3, -2:]),
    Of("pad", {"x": M, "pad": i(1, 0, 0, 2), "constant_val": 7.0}, functional.pad(M, (0, 2, 1, 0), value=7.0)),
    Of("pad", {"x": X, "pad": i(2, 1, 3, 0), "mode": "reflect"}, functional.pad(X, (3, 0, 2, 1), mode="reflect")),
    Of("pad", {"x": X, "pad": i(2, 1, 3, 0), "mode": "replicate"}, functional.pad(X, (3, 0, 2, 1), mode="replicate")),
    Of("tile", {"x": M, "reps": i(2, 3)}, M.repeat(2, 3)),
    Of("transpose", {"x": X, "perm": i(0, 2, 3, 1)}, X.permute(0, 2, 3, 1)),
    Of("reverse", {"x": M, "axes": i(1)}, M.flip(1)),
    Of("shape", {"x": X}, i(2, 3, 6, 8)),
    Of("range_1d", {"start": i(2), "end": i(9), "step": i(3)}, i(2, 5, 8)),
    Of("fill", {"shape": i(2, 2), "value": torch.tensor(3.0)}, torch.full((2, 2), 3.0)),
    Of("fill_like", {"ref_tensor": M, "value": torch.tensor(3)}, torch.full((4, 5), 3)),
    Of("flatten2d", {"x": X, "axis": 2}, X.reshape(6, 48)),
    Of("pixel_shuffle", {"x": X.repeat(1, 4, 1, 1), "upscale_factor": 2}, functional.pixel_shuffle(X.repeat(1, 4, 1, 1), 2)),
    Of("pixel_unshuffle", {"x": X, "downscale_factor": 2}, functional.pixel_unshuffle(X, 2)),
    Of("space_to_depth", {"x": torch.arange(8.0).reshape(1, 2, 2, 2), "block_size": 2}, torch.tensor([0.0, 4, 1, 5, 2, 6, 3, 7]).reshape(1, 8, 1, 1)),
    Of("depth_to_space", {"x": torch.tensor([0.0, 4, 1, 5, 2, 6, 3, 7]).reshape(1, 8, 1, 1), "block_size": 2}, torch.arange(8.0).reshape(1, 2, 2, 2)),
    Of("sliding_windows", {"x": torch.arange(5.0), "axis": 0, "size": 3, "stride": 2}, torch.tensor([[0.0, 1, 2], [2, 3, 4]])),
]  # fmt: skip
INDEXING = [
    Of("gather", {"x": X, "indices": i(2, 0, -1), "axis": 1}, X[:, [2, 0, 2]]),
    Of("gather", {"x": M, "indices": torch.tensor([[0, 4], [1, 2], [3, 3], [0, 0]]), "axis": 1, "batch_dims": 1},
       M.gather(1, torch.tensor([[0, 4], [1, 2], [3, 3], [0, 0]]))),
    Of("gather_along_axis", {"x": M, "indices": torch.tensor([[0, 3, 1, 1, -1]]), "axis": 0}, M.gather(0, torch.tensor([[0, 3, 1, 1, 3]]))),
    Of("gather_nd", {"x": M, "indices": torch.tensor([[0, 4], [3, 1]])}, torch.stack([M[0, 4], M[3, 1]])),
    Of("gather_nd", {"x": X, "indices": torch.tensor([[[2]], [[0]]]), "batch_dims": 1}, torch.stack([X[0, [2]], X[1, [0]]])),
    Of("scatter", {"data": M, "indices": i(1, 1), "updates": torch.ones(2, 5), "axis": 0}, M + torch.tensor([0.0, 2, 0, 0]).view(4, 1)),
    Of("scatter", {"data": M, "indices": i(-1), "updates": torch.ones(4, 1), "axis": 1, "mode": "update"}, torch.cat([M[:, :4], torch.ones(4, 1)], 1)),
    Of("scatter_along_axis", {"data": M, "indices": torch.zeros(4, 1, dtype=torch.int32), "updates": torch.full((4, 1), 2.0), "axis": 1, "mode": "mul"},
       torch.cat([2 * M[:, :1], M[:, 1:]], 1)),
    Of("scatter_nd", {"data": M, "indices": torch.tensor([[0], [2]]), "updates": torch.full((2, 5), 9.0), "mode": "max"},
       torch.cat([torch.full((1, 5), 9.0), M[1:2], torch.full((1, 5), 9.0), M[3:]])),
    Of("scatter_nd", {"data": M, "indices": torch.tensor([[0, 0]]), "updates": torch.tensor([4.0]), "mode": "div"},
       M / torch.tensor([4.0] + 19 * [1.0]).view(4, 5)),
    Of("topk", {"x": N, "k": 2}, [i(3, 2, 5, 4).reshape(2, 2), i(0, 2, 1, 2).reshape(2, 2)]),
    Of("topk", {"x": N, "k": 1, "axis": 0, "ascending": True}, [i(0, 1, 2)[None], i(1, 0, 0)[None]]),
    Of("argsort", {"x": N}, i(0, 2, 1, 1, 2, 0).reshape(2, 3)),
    Of("one_hot", {"indices": i(1, 0), "one_hot_vector_size": 3}, i(0, 1, 0, 1, 0, 0).reshape(2, 3)),
    Of("non_zero", {"x": i(0, 3, 0, 1)}, i(1, 3)[:, None]),
]  # fmt: skip
REDUCTIONS = [
    *(Of(f"reduce_{name}", {"x": X, "axes": i(-2, -1), "keep_dims": True}, getattr(X, word)((2, 3), keepdim=True))
      for name, word in {"mean": "mean", "sum": "sum", "max": "amax", "min": "amin", "log_sum_exp": "logsumexp"}.items()),
    Of("reduce_sum", {"x": M}, M.sum()),
    Of("reduce_prod", {"x": X, "axes": i(2, 3)}, X.flatten(2).prod(2)),
    Of("reduce_l1_norm", {"x": M, "axes": i(1)}, M.abs().sum(1)),
    Of("reduce_l2_norm", {"x": M, "axes": i(1)}, M.norm(dim=1)),
    Of("reduce_log_sum", {"x": M.abs(), "axes": i(1)}, M.abs().sum(1).log()),
    Of("reduce_sum_square", {"x": M, "axes": i(0)}, (M * M).sum(0)),
    Of("reduce_argmax", {"x": N, "axis": 1}, i(0, 1)),
    Of("reduce_argmin", {"x": N, "axis": 1, "keep_dims": True}, i(1, 0)[:, None]),
    Of("cumsum", {"x": M, "axis": 1, "exclusive": True}, torch.cat([torch.zeros(4, 1), M.cumsum(1)[:, :-1]], 1)),
    Of("cumsum", {"x": N, "axis": 1, "reverse": True}, i(6, 3, 2, 9, 9, 4).reshape(2, 3)),
    Of("band_part", {"x": M, "lower": 0, "upper": -1}, M.triu()),
    Of("band_part", {"x": M, "lower": 1, "upper": 0}, M.tril() * torch.ones(4, 5).triu(-1)),
]  # fmt: skip
WEIGHTS = [
    Of("constexpr_affine_dequantize", {"quantized_data": i(1, 2, 3, 4).reshape(2, 2), "zero_point": i(1, 2), "scale": torch.tensor([0.5, 2.0]), "axis": 0},
       torch.tensor([[0.0, 0.5], [2.0, 4.0]])),
    Of("constexpr_blockwise_shift_scale", {"data": i(1, 2, 3, 4)[None], "scale": torch.tensor([[0.5, 2.0]]), "offset": i(0, 1)[None]},
       torch.tensor([[0.5, 1.0, 4.0, 6.0]])),
    Of("constexpr_cast", {"source_val": torch.tensor([1.0])}, torch.tensor([1.0])),
    Of("constexpr_lut_to_dense", {"indices": i(0b10110100, 3), "lut": torch.tensor([5.0, 6, 7, 8]), "shape": i(5)}, torch.tensor([5.0, 6, 8, 7, 8])),
    Of("constexpr_lut_to_dense", {"indices": i(0, 1, 1, 0).reshape(2, 2), "lut": torch.tensor([[[[1.0], [2]]], [[[3.0], [4]]]])},
       torch.tensor([[1.0, 2], [4, 3]])),
    Of("constexpr_sparse_to_dense", {"nonzero_data": torch.tensor([4.0, 9.0]), "mask": i(0b01100), "shape": i(5)}, torch.tensor([0.0, 0, 4, 9, 0])),
    Of("constexpr_sparse_to_dense", {"nonzero_data": torch.tensor([4.0, 9.0]), "mask": i(0, 1, 1)}, torch.tensor([0.0, 4, 9])),
]  # fmt: skip
CASES = [*ACTIVATIONS, *ARITHMETIC, *LINEAR, *RESIZING, *SHAPES, *INDEXING, *REDUCTIONS, *WEIGHTS]


def run(operator: str, given: dict[str, object]) -> list[torch.Tensor]:
    plain = {name: torch.tensor(one) if isinstance(one, (bool, int, float)) else one for name, one in given.items()}
    made = OPERATORS[operator](Arguments(operator, plain))
    return made if isinstance(made, list) else [made]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.operator}-{number}") for number, case in enumerate(CASES)]
)
def test_an_operator_computes_what_its_definition_says(case: Of):
    expected = case.expected if isinstance(case.expected, list) else [case.expected]

    made = run(case.operator, case.given)

    assert len(made) == len(expected)
    for one, wanted in zip(made, expected, strict=True):
        assert one.shape == wanted.shape
        assert one.is_floating_point() == wanted.is_floating_point()
        np.testing.assert_allclose(one.numpy(), wanted.numpy(), rtol=2e-5, atol=2e-5)


def test_no_operator_is_untested():
    assert set(OPERATORS) == {case.operator for case in CASES}


LACKING: dict[str, Callable[[], object]] = {
    "real_div of integers": lambda: run("real_div", {"x": N, "y": N}),
    "gelu of mode NEW": lambda: run("gelu", {"x": X, "mode": "NEW"}),
    "conv of padding odd": lambda: run("conv", {"x": X, "weight": W, "pad_type": "odd"}),
    "pad of mode circular": lambda: run("pad", {"x": X, "pad": i(1, 1), "mode": "circular"}),
    "cast to string": lambda: run("cast", {"x": X, "dtype": "string"}),
    "relu without a tensor called x": lambda: run("relu", {}),
}


@pytest.mark.parametrize("named", LACKING)
def test_a_form_that_the_evaluator_lacks_is_named(named: str):
    with pytest.raises(Permanent, match=named) as refused:
        LACKING[named]()

    assert refused.value.code == "unsupported_operator"
