"""What makes models convertible keeps their answers: constants folded by size, attention in five dimensions."""

import copy
from pathlib import Path

import pytest
import torch
import transformers

from contracts.vocabulary import ExportFormat
from export_worker.formats.coreml_operators import unsupported_ops
from export_worker.formats.folding import fold
from export_worker.rewrites.table import REWRITES, rewrite
from export_worker.runtimes.coreml.program import Program
from export_worker.runtimes.coreml.toolchain import ct

from .exporting import randomise

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Plain(torch.nn.Module):
    """A detector with its two answers alone."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made = self.model(pixel_values=images, return_dict=True)
        return made.logits, made.pred_boxes


def detr() -> torch.nn.Module:
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False, backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=1, num_queries=5,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_labels=3,
    )  # fmt: skip
    return transformers.DetrForObjectDetection(config)


def rtdetr() -> torch.nn.Module:
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[16, 24, 32], encoder_ffn_dim=32, d_model=16,
        decoder_ffn_dim=32, num_queries=6, decoder_in_channels=[16, 16, 16], decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, num_labels=3, num_denoising=0,
    )  # fmt: skip
    return transformers.RTDetrForObjectDetection(config)


def yolos() -> torch.nn.Module:
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 96],
        patch_size=16, num_detection_tokens=5, num_labels=3,
    )  # fmt: skip
    return transformers.YolosForObjectDetection(config)


@pytest.mark.parametrize("make", [detr, rtdetr, yolos])
def test_detectors_that_coremltools_refuses_convert_and_answer_the_same(make: object, tmp_path: Path):
    torch.manual_seed(0)
    source = Plain(randomise(make())).eval().requires_grad_(False)
    module = copy.deepcopy(source)
    names = rewrite(module, ExportFormat.COREML)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        traced = torch.jit.trace(module, images, check_trace=False, strict=False)

    assert fold(traced, images) > 0
    assert unsupported_ops(traced.forward.graph) == []
    model = ct.convert(
        traced, inputs=[ct.TensorType(name="images", shape=images.shape)], compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )  # fmt: skip
    model.save(str(tmp_path / "x.mlpackage"))
    program = Program(tmp_path / "x.mlpackage")

    other = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = source(other)
    made = program({"images": other})
    assert names == (("deformable_attention_in_five_dimensions",) if make is rtdetr else ())
    for name, wanted in zip(program.outputs, expected, strict=True):
        torch.testing.assert_close(made[name], wanted, rtol=1e-4, atol=1e-4)


def test_every_rewrite_says_why_and_leaves_others_alone():
    assert len({each.name for each in REWRITES}) == len(REWRITES)
    assert all(each.reason and each.targets for each in REWRITES)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())

    assert not any(each.apply(plain) for each in REWRITES)


class Sized(torch.nn.Module):
    """Mixes a table that depends on the input's size with the input; the table is changed in place while it is made."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        table = torch.arange(images.shape[3], dtype=torch.float32).repeat(images.shape[2], 1)
        table[:, 0] = 7.0
        mask = images.new_ones(()).bool() & (table > 2)
        return torch.where(mask, images + table, images * images.shape[2])


class Changed(torch.nn.Module):
    """Reads a constant, changes it by the input, and reads it again."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        table = torch.zeros(images.shape[2], images.shape[3])
        first = images + table
        table[0] = images[0, 0, 0]
        return first + 2 * table


@pytest.mark.parametrize("make", [Sized, Changed])
def test_folding_keeps_the_answers(make: type[torch.nn.Module]):
    images = torch.rand(1, 3, 4, 5)
    traced = torch.jit.trace(make(), images, check_trace=False)

    assert fold(traced, images) > 0

    function = torch._C._create_function_from_graph("folded", traced.forward.graph)
    other = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(function(traced._c, other), make()(other), rtol=0, atol=0)
    assert make is Changed or "aten::arange" not in {node.kind() for node in traced.forward.graph.nodes()}


def test_an_operator_without_a_converter_is_named_before_the_conversion():
    class Windows(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.unfold(3, 2, 2) + torch.fmod(images, 2).sum()

    traced = torch.jit.trace(Windows(), torch.rand(1, 3, 4, 4))

    assert unsupported_ops(traced.inlined_graph) == ["aten::fmod", "aten::unfold"]
