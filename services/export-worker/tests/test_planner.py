"""The plan of a request, and the registry behind it."""

import ast
from pathlib import Path

import pytest

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat, ExportStage, Framework, TaskType
from export_worker import planner, registry

from .exporting import Case, request

ANY = Case(checkpoint=Path("x"), framework=Framework.TIMM, task=TaskType.IMAGE_CLASSIFICATION, model="resnet18")


@pytest.mark.parametrize("framework", list(Framework))
@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_every_framework_reaches_both_formats(framework: Framework, target: str):
    case = Case(checkpoint=Path("x"), framework=framework, task=TaskType.IMAGE_CLASSIFICATION, model="m")

    steps = planner.plan(request(case, target))

    assert [step.stage for step in steps] == [ExportStage.LOAD, ExportStage.CONVERT, ExportStage.VERIFY]
    assert steps[0].entry == registry.LOADERS[framework]
    assert steps[1].entry == registry.CONVERTERS[registry.TORCH, ExportFormat(target)]


def test_what_no_step_can_do_is_refused_by_name():
    with pytest.raises(Permanent, match="embed_nms") as refused:
        planner.plan(request(ANY, "onnx", {"embed_nms": True}))

    assert refused.value.code == "unsupported"


@pytest.mark.parametrize("target", ["tensorrt", "coreml", "tflite", "openvino"])
def test_a_format_without_a_converter_is_refused(target: str, monkeypatch: pytest.MonkeyPatch):
    only = {pair: entry for pair, entry in registry.CONVERTERS.items() if pair[1] in ("onnx", "torchscript")}
    monkeypatch.setattr(registry, "CONVERTERS", only)
    with pytest.raises(Permanent) as refused:
        planner.plan(request(ANY, target))

    assert refused.value.code == "unsupported"


def test_a_longer_route_is_the_shortest_chain_of_converters(monkeypatch: pytest.MonkeyPatch):
    chains = {
        (registry.TORCH, "onnx"): "m:torch2onnx",
        ("onnx", "tensorrt"): "m:onnx2tensorrt",
        ("tensorrt", "tflite"): "m:odd",
    }
    monkeypatch.setattr(registry, "CONVERTERS", chains)

    assert registry.route(ExportFormat.TENSORRT) == [("onnx", "m:torch2onnx"), ("tensorrt", "m:onnx2tensorrt")]
    assert registry.route(ExportFormat.COREML) == []


def test_every_entry_names_a_function_of_its_module():
    """Read, not imported: the matrix must stand without any toolchain."""
    source = Path(registry.__file__).parent.parent
    entries = [
        *registry.LOADERS.values(), *registry.CONVERTERS.values(), *registry.RUNTIMES.values(),
        *registry.LAYERS.values(), registry.VERIFIER, registry.BEGIN, registry.WARMER,
    ]  # fmt: skip
    for entry in entries:
        module, _, name = entry.partition(":")
        tree = ast.parse((source / f"{module.replace('.', '/')}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, entry
