"""The environments of the workers and what every format needs in them: one table for set-up, stack, images and announcements.

The set-up reads it before anything is installed: standard library and `contracts.vocabulary` only.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from contracts.vocabulary import ExportFormat, Framework

F, X = Framework, ExportFormat


class Layer(NamedTuple):
    """What one layer of the set-up puts into an environment: files of deploy/requirements, and what they are for."""

    requirements: tuple[str, ...]
    formats: tuple[ExportFormat, ...]
    frameworks: tuple[Framework, ...]


class Toolchain(NamedTuple):
    """One environment: packages that can live with each other, and a pool of workers that runs in it.

    environment  its folder, below the project's root
    pins         the file, from the project's root, that fixes every version
    extras       of the worker's package: the frameworks', and those of `formats`
    layers       "demo" is what `make demo` installs, "test" what `make setup` adds; an absent layer installs nothing
    """

    name: str
    environment: str
    pins: str
    extras: tuple[str, ...]
    layers: Mapping[str, Layer]

    def requirements(self, layer: str) -> tuple[str, ...]:
        """Files of deploy/requirements, of this layer and those below it."""
        return tuple(name for part in self._until(layer) for name in part.requirements)

    def formats(self, layer: str = "test") -> tuple[ExportFormat, ...]:
        """What its workers make once this layer is installed."""
        return tuple(name for part in self._until(layer) for name in part.formats)

    def smoke(self, layer: str = "test") -> tuple[str, ...]:
        """What its interpreter runs at the end of the set-up; ends with status 1 and the names of what is broken."""
        frameworks = (name for part in self._until(layer) for name in part.frameworks)
        return ("-m", "export_worker.smoke", *self.formats(layer), *frameworks)

    @property
    def pool(self) -> str:
        """The name of its workers: of the service, the image and the folder."""
        return "export-worker" if self.name == CORE else f"export-worker-{self.name}"

    def _until(self, layer: str) -> list[Layer]:
        wanted = LAYERS[: LAYERS.index(layer) + 1]
        return [self.layers[name] for name in wanted if name in self.layers]


CORE = "core"
LAYERS = ("demo", "test")
"""A layer contains the ones before it."""
FRAMEWORK_EXTRAS = tuple(str(name) for name in Framework)

TOOLCHAINS: tuple[Toolchain, ...] = (
    Toolchain(
        name=CORE,
        environment=".venv",
        pins="constraints.txt",
        extras=(*FRAMEWORK_EXTRAS, "openvino", "coreml", "tensorrt"),
        layers={
            "demo": Layer(("demo",), (X.ONNX, X.TORCHSCRIPT), (F.ULTRALYTICS,)),
            "test": Layer(("test", "toolchains"), (X.OPENVINO, X.COREML, X.TENSORRT), (F.TIMM, F.HUGGINGFACE)),
        },
    ),
    # xdsl, which litert-torch needs, wants typing_extensions < 4.13, the tools of the tests want a newer one
    Toolchain(
        name="litert",
        environment=".venv-litert",
        pins="deploy/requirements/litert.txt",
        extras=(*FRAMEWORK_EXTRAS, "tflite"),
        layers={"test": Layer(("litert",), (X.TFLITE,), tuple(Framework))},
    ),
)

EXTRAS: dict[ExportFormat, str] = {
    X.OPENVINO: "openvino",
    X.COREML: "coreml",
    X.TFLITE: "tflite",
    X.TENSORRT: "tensorrt",
}
"""The worker's extra that brings a format's packages; ONNX and TorchScript come without one."""

NEEDS: dict[ExportFormat | Framework, tuple[str, ...]] = {
    X.ONNX: ("torch", "onnx", "onnxruntime"),
    X.TORCHSCRIPT: ("torch",),
    X.OPENVINO: ("torch", "onnx", "openvino", "nncf"),
    X.COREML: ("torch", "coremltools"),
    X.TFLITE: ("torch", "litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
    X.TENSORRT: ("torch", "onnx"),
    F.ULTRALYTICS: ("torch", "ultralytics"),
    F.TIMM: ("torch", "timm"),
    F.HUGGINGFACE: ("torch", "transformers"),
}
"""Modules that must be there; TensorRT needs those of a flavour besides."""

FLAVORS: dict[str, tuple[str, ...]] = {"tensorrt": ("tensorrt",), "rtx": ("tensorrt_rtx",)}
"""Modules that a builder of TensorRT engines needs, by `TensorRtOptions.flavor`; each builds for its own runtime alone."""

GPU_FLAVORS = frozenset({"tensorrt"})
"""They build on the GPU that they build for."""

NODES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")

PACKAGES = (
    *("torch", "torchvision", "onnx", "onnxruntime", "ultralytics", "timm", "transformers"),
    *("openvino", "nncf", "coremltools", "litert-torch", "ai-edge-litert", "ai-edge-quantizer", "jax"),
    *("tensorrt-rtx", "tensorrt"),
)
"""Whose versions a worker announces."""


def missing_modules(names: Iterable[str]) -> list[str]:
    """Those that are not installed; none of them is imported."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def nvidia_devices(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """The nodes of the driver of NVIDIA's GPUs; none where there is no GPU."""
    if not any(folder.glob("nvidia[0-9]*")):
        return ()
    return tuple(sorted(str(node) for name in NODES for node in folder.glob(name)))


def nvidia_gpus(folder: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[str, ...]:
    """The models of NVIDIA's GPUs as their driver names them, sorted; none where there is no GPU."""
    lines = (line for path in folder.glob("*/information") for line in path.read_text().splitlines())
    return tuple(sorted(line.partition(":")[2].strip() for line in lines if line.startswith("Model:")))


def step_devices() -> tuple[str, ...]:
    """What a step must reach beyond the machine's usual devices: the GPU, where it has the builder that needs one."""
    return nvidia_devices() if any(not missing_modules(FLAVORS[name]) for name in GPU_FLAVORS) else ()


def is_installed(export_format: ExportFormat) -> bool:
    """Whether this environment has what the format needs, of TensorRT one flavour at least."""
    if missing_modules(NEEDS[export_format]):
        return False
    return export_format is not X.TENSORRT or any(not missing_modules(names) for names in FLAVORS.values())
