"""What runs a package's Python: the releases that it asks for, and the clean environments in which the packager proves it.

The set-up reads it before anything is installed: standard library and `contracts.vocabulary` only.
"""

from pathlib import Path
from typing import NamedTuple

from contracts.vocabulary import ExportFormat, Kernel

F = ExportFormat

PINS = {
    "ai-edge-litert": "2.3.0",
    "coremltools": "9.0",
    "cuda-bindings": "13.5.0",
    "numpy": "2.3.5",
    "onnxruntime": "1.32.0",
    "opencv-python-headless": "5.0.0.93",
    "openvino": "2026.4.1",
    "pillow": "13.0.0",
    "tensorrt-rtx": "1.7.1.116",
    "torch": "2.14.1",
}
"""The releases that the export was verified with; a test holds them to constraints.txt."""

RUNTIMES: dict[ExportFormat, tuple[str, ...]] = {
    F.ONNX: ("onnxruntime",),
    F.TORCHSCRIPT: ("torch",),
    F.OPENVINO: ("openvino",),
    F.TFLITE: ("ai-edge-litert",),
    F.COREML: ("coremltools", "pillow"),
    F.TENSORRT: ("tensorrt", "cuda-bindings"),
}
"""What runs a format; an engine of TensorRT's flavour rtx has its own runtime, and Core ML takes pixels as Pillow's pictures."""

IMAGING: dict[Kernel, str] = {
    kernel: "opencv-python-headless" if kernel is Kernel.CV2_LINEAR_U8 else "pillow" for kernel in Kernel
}
"""What resamples as a kernel is named after."""


class Environment(NamedTuple):
    """One clean environment: the format that it runs, the layer of the set-up that makes it, and the modules that must import."""

    export_format: ExportFormat
    layer: str
    modules: tuple[str, ...]

    def requirements(self) -> list[str]:
        """Everything that the requirements.txt of a package of this format may name."""
        names = dict.fromkeys(("numpy", *sorted(IMAGING.values()), *RUNTIMES[self.export_format]))
        return [f"{name}=={PINS[name]}" for name in names]

    def python(self, folder: Path) -> Path:
        """Its interpreter, below the folder of all of them."""
        return folder / self.export_format / "bin" / "python"


FOLDER = ".venv-runtimes"
"""Of all environments, below the project's root."""

ENVIRONMENTS = (
    Environment(F.ONNX, "demo", ("onnxruntime", "cv2", "PIL.Image")),
    Environment(F.TORCHSCRIPT, "demo", ("torch", "cv2", "PIL.Image")),
    Environment(F.OPENVINO, "test", ("openvino", "cv2", "PIL.Image")),
    Environment(F.TFLITE, "test", ("ai_edge_litert.interpreter", "cv2", "PIL.Image")),
)
"""Core ML models run on Apple's systems alone, engines on the GPU that they were built for: neither has an environment here."""


def installed(folder: Path) -> dict[ExportFormat, Path]:
    """The interpreters that are there."""
    found = {environment.export_format: environment.python(folder) for environment in ENVIRONMENTS}
    return {name: python for name, python in found.items() if python.exists()}
