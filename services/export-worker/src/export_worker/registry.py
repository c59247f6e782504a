"""Who does what: the whole matrix of loaders, converters and runtimes as data, readable without importing a toolchain."""

from importlib import import_module
from typing import Any, NamedTuple

from contracts.vocabulary import ExportFormat, Framework

TORCH = "torch"
"""The form every framework's loader delivers: a torch module in eval mode."""

LOADERS: dict[Framework, str] = {
    Framework.ULTRALYTICS: "export_worker.frameworks.ultralytics:load",
    Framework.TIMM: "export_worker.frameworks.timm:load",
    Framework.HUGGINGFACE: "export_worker.frameworks.huggingface:load",
}

CONVERTERS: dict[tuple[str, str], str] = {
    (TORCH, ExportFormat.ONNX): "export_worker.formats.torch2onnx:convert",
    (TORCH, ExportFormat.TORCHSCRIPT): "export_worker.formats.torch2torchscript:convert",
    (TORCH, ExportFormat.COREML): "export_worker.formats.torch2coreml:convert",
    (TORCH, ExportFormat.TFLITE): "export_worker.formats.torch2tflite:convert",
    (ExportFormat.ONNX, ExportFormat.OPENVINO): "export_worker.formats.onnx2openvino:convert",
    (ExportFormat.ONNX, ExportFormat.TENSORRT): "export_worker.formats.onnx2tensorrt:convert",
}

RUNTIMES: dict[ExportFormat, str] = {
    ExportFormat.ONNX: "export_worker.runtimes.onnx:open_artefact",
    ExportFormat.TORCHSCRIPT: "export_worker.runtimes.torchscript:open_artefact",
    ExportFormat.COREML: "export_worker.runtimes.coreml.runtime:open_artefact",
    ExportFormat.TFLITE: "export_worker.runtimes.tflite:open_artefact",
    ExportFormat.OPENVINO: "export_worker.runtimes.openvino:open_artefact",
    ExportFormat.TENSORRT: "export_worker.runtimes.tensorrt:open_artefact",
}

LAYERS: dict[ExportFormat, str] = {
    ExportFormat.ONNX: "export_worker.runtimes.onnx_layers:layers",
    ExportFormat.TORCHSCRIPT: "export_worker.runtimes.torchscript:layers",
    ExportFormat.COREML: "export_worker.runtimes.coreml.layers:layers",
    ExportFormat.TFLITE: "export_worker.runtimes.tflite_layers:layers",
    ExportFormat.OPENVINO: "export_worker.runtimes.openvino:layers",
}
"""Runtimes that can show what a single layer of an artefact computes."""

GRAPHS: dict[ExportFormat, str] = {
    ExportFormat.ONNX: "export_worker.graphs.onnx:summarise",
    ExportFormat.TORCHSCRIPT: "export_worker.graphs.torchscript:summarise",
    ExportFormat.COREML: "export_worker.graphs.coreml:summarise",
    ExportFormat.TFLITE: "export_worker.graphs.tflite:summarise",
    ExportFormat.OPENVINO: "export_worker.graphs.openvino:summarise",
}
"""Formats whose operators can be counted; an engine of TensorRT tells of its layers to the GPU that it was built for, and there by name alone."""

BEGIN = "export_worker.loaded:begin"
VERIFIER = "export_worker.parity.verify:verify"
FORECASTER = "export_worker.forecast.foresee:foresee"
WEIGHER = "export_worker.forecast.memory:weigh"

WARMER = "export_worker.warmup:warm"
LATER = "export_worker.warmup:later"
SELDOM: dict[Framework, str] = {Framework.ULTRALYTICS: "export_worker.frameworks.transforms:read_transforms"}
"""What only some jobs of a framework need and takes long to import (torchvision, for classifiers)."""


class Hop(NamedTuple):
    """One conversion: the form that it makes, and its entry."""

    form: str
    entry: str


def route(target: ExportFormat) -> list[Hop]:
    """The shortest chain of converters from a torch module to `target`; empty where there is none."""
    chains: list[tuple[str, list[Hop]]] = [(TORCH, [])]
    seen = {TORCH}
    while chains:
        form, hops = chains.pop(0)
        if form == target:
            return hops
        for (source, made), entry in CONVERTERS.items():
            if source == form and made not in seen:
                seen.add(made)
                chains.append((made, [*hops, Hop(str(made), entry)]))
    return []


def resolve(entry: str) -> Any:
    """The function that a "module:function" entry names; imports its module."""
    module, _, name = entry.partition(":")
    return getattr(import_module(module), name)
