"""ONNX to a TensorRT engine: TensorRT on a machine with an NVIDIA GPU, or TensorRT-RTX ahead of time, for several generations of GPUs at once.

Both builders have the same Python interface; networks are strongly typed, so that float16 is float16 in the ONNX file already.
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/python-api-docs.html
"""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from contracts.errors import Permanent
from contracts.export_options import TensorRtOptions
from contracts.keys import MODEL_FILES
from contracts.precision import precision
from contracts.vocabulary import ExportFormat
from export_worker.formats.onnx_precision import lower
from export_worker.loaded import Work

GIB = 1 << 30
AHEAD_OF_TIME = ("SM80", "SM86", "SM89", "SM120")
"""Compute capabilities of what TensorRT-RTX builds: Ampere to Blackwell; Turing has no float32 matrix products there."""


class Flavor(NamedTuple):
    """A builder: its module, its name for people, and whether it builds for the GPU of its own machine."""

    module: str
    title: str
    here: bool


FLAVORS = {
    "tensorrt": Flavor("tensorrt", "TensorRT", True),
    "rtx": Flavor("tensorrt_rtx", "TensorRT-RTX", False),
}


class OperatorError(Permanent):
    """A node that TensorRT's parser does not know, by its name."""

    def __init__(self, message: str, operator: str) -> None:
        super().__init__("unsupported_operator", message)
        self.operator = operator


def convert(work: Work) -> Work:
    """Writes output/model.engine; raises Permanent naming the node that the parser refuses."""
    onnx, options = work.need_artefact(), work.request.options
    if not isinstance(options, TensorRtOptions):
        raise TypeError(f"options of {type(options).__name__} reached the TensorRT converter")
    flavor = FLAVORS[options.flavor]
    trt = importlib.import_module(flavor.module)
    arithmetic = precision(options, work.request.optimization)
    lower(onnx.path, arithmetic, work.request.optimization)
    work.progress(0.2, f"Building the engine with {flavor.title}")
    complaints: list[str] = []
    builder = trt.Builder(listener(trt, complaints))
    network = parsed(trt, builder, onnx.path)
    config, targets = _config(trt, builder, network, options, flavor)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Permanent(
            "conversion_failed", f"{flavor.title} built no engine: {' '.join(complaints)[:400] or 'it says not why'}"
        )
    path = work.output / MODEL_FILES[ExportFormat.TENSORRT]
    path.write_bytes(plan)
    made = structs.replace(
        onnx,
        path=path,
        export_format=ExportFormat.TENSORRT,
        intermediate=onnx.path,
        toolchain={**onnx.toolchain, flavor.module: trt.__version__},
        precision=arithmetic,
        max_batch=options.max_batch_size,
        route=(*onnx.route, "tensorrt"),
        portability=f"{flavor.title} {trt.__version__} alone, Linux x86-64, {targets}",
    )
    return structs.replace(work, artefact=made)


def listener(trt: Any, complaints: list[str]) -> Any:
    """A logger that keeps what the builder complains of."""

    class Listener(trt.ILogger):
        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                complaints.append(message)

    return Listener()


def parsed(trt: Any, builder: Any, path: Path) -> Any:
    """The network of an ONNX file; raises OperatorError naming the first node at fault."""
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(path)):
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        first = faults[0] if faults else None
        name = (first.node_operator() or first.node_name()) if first else "a node"
        where = f" ({first.node_name()}): {first.desc()}" if first else ""
        raise OperatorError(f"TensorRT's parser refuses {name}{where}"[:500], first.node_name() if first else "")
    return network


def _config(trt: Any, builder: Any, network: Any, options: TensorRtOptions, flavor: Flavor) -> tuple[Any, str]:
    """Workspace, batch profile and target GPUs; and those GPUs in words."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_size_gb * GIB))
    image = network.get_input(0)
    if image.shape[0] == -1:
        profile = builder.create_optimization_profile()
        shapes = (
            [count, *image.shape[1:]] for count in (1, max(1, options.max_batch_size // 2), options.max_batch_size)
        )
        profile.set_shape(image.name, *shapes)
        config.add_optimization_profile(profile)
    if flavor.here:
        return config, gpu_name()
    config.num_compute_capabilities = len(AHEAD_OF_TIME)
    for index, name in enumerate(AHEAD_OF_TIME):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    return config, f"NVIDIA GPUs of compute capability {', '.join(name.removeprefix('SM') for name in AHEAD_OF_TIME)}"


def gpu_name() -> str:
    """The GPU that an engine is built for, and its compute capability."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}"
