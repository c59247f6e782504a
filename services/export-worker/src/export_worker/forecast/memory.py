"""How much memory a conversion takes: a base, and a multiple of the model's weights."""

from typing import NamedTuple

import torch

from contracts.errors import Permanent
from contracts.vocabulary import ExportFormat
from export_worker.loaded import Work

MIB = 1 << 20


class Need(NamedTuple):
    """`base_mib` for a model without weights, imports included; `factor` bytes more for every byte of float32 weights."""

    base_mib: int
    factor: float


NEEDS: dict[ExportFormat, Need] = {
    ExportFormat.ONNX: Need(700, 4.7),
    ExportFormat.TORCHSCRIPT: Need(700, 3.4),
    ExportFormat.OPENVINO: Need(900, 5.7),
    ExportFormat.TENSORRT: Need(900, 5.7),
    ExportFormat.COREML: Need(1000, 5.7),
    ExportFormat.TFLITE: Need(1000, 5.7),
}
"""ONNX and TorchScript: highest RssAnon of whole jobs, comparison included, of resnet18 (42 MiB: 633 and 577 MiB) and resnet101 (162 MiB:
1106 MiB, ONNX) at 64 pixels; a warm run without a job has 435 to 471 MiB with timm, 700 MiB with Ultralytics.
The other factors are counted, not measured: one more copy of the weights, in the target's own form, than for ONNX."""


def weight_bytes(module: torch.nn.Module) -> int:
    """Of parameters and buffers, each counted once."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def need_bytes(export_format: ExportFormat, weights: int) -> int:
    """What a whole job of this format takes at its peak."""
    need = NEEDS[export_format]
    return need.base_mib * MIB + int(need.factor * weights)


def require(export_format: ExportFormat, weights: int, memory_bytes: int) -> None:
    """Raises Permanent("needs_more_memory") where a job would not fit into `memory_bytes`; 0 is no limit."""
    need = need_bytes(export_format, weights)
    if 0 < memory_bytes < need:
        raise Permanent(
            "needs_more_memory",
            f"The {export_format} conversion of {weights // MIB} MiB of weights takes about {need // MIB} MiB, "
            f"this worker gives it {memory_bytes // MIB} MiB.",
        )


def weigh(work: Work, memory_bytes: int) -> None:
    """`require` for a job whose checkpoint is loaded."""
    require(work.request.export_format, weight_bytes(work.need_loaded().module), memory_bytes)
