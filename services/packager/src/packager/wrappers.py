"""The runtimes inside a package: which files, from where, and what they need installed."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from contracts.model_package import ModelMetadata
from contracts.vocabulary import ExportFormat, Kernel

PYTHON = "runtimes/python"
RUNTIME_WRAPPERS = {"python": f"{PYTHON}/model_wrapper.py"}

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
    ExportFormat.ONNX: ("onnxruntime",),
    ExportFormat.TORCHSCRIPT: ("torch",),
    ExportFormat.OPENVINO: ("openvino",),
    ExportFormat.TFLITE: ("ai-edge-litert",),
    ExportFormat.COREML: ("coremltools", "pillow"),
    ExportFormat.TENSORRT: ("tensorrt", "cuda-bindings"),
}
"""What runs a format; an engine of TensorRT's flavour rtx has its own runtime, and Core ML takes pixels as Pillow's pictures."""
_NOTES = {
    "coremltools": "# runs models on macOS alone",
    "tensorrt": "# engines run with the release that built them; NVIDIA's own index has it",
    "torch": "# pytorch.org tells how to get the much smaller build without CUDA",
    "pillow": "# resamples and decodes; other releases may differ by one level in some pixels",
    "opencv-python-headless": "# resamples and decodes",
}


def python_files() -> dict[str, bytes]:
    """The wrapper and the pre- and post-processing, verbatim, by their path in the package."""
    wrapper = {f"{PYTHON}/{path}": data for path, data in _sources(files("packager") / "runtimes" / "python")}
    processing = {f"{PYTHON}/processing/{path}": data for path, data in _sources(files("processing"))}
    return wrapper | processing


def requirements(metadata: ModelMetadata) -> str:
    """requirements.txt for this model: numpy, the runtime of its format, and the library that its kernel is named after."""
    kernel = metadata.preprocessing.resize.kernel
    imaging = "opencv-python-headless" if kernel is Kernel.CV2_LINEAR_U8 else "pillow"
    names = dict.fromkeys(("numpy", imaging, *_runtimes(metadata)))
    lines = [f"{name}{_release(name, metadata)}  {_NOTES.get(name, '')}".rstrip() for name in names]
    return "\n".join(["# Python 3.11 or newer", *lines, ""])


def _runtimes(metadata: ModelMetadata) -> list[str]:
    is_rtx = metadata.provenance.export_options.get("flavor") == "rtx"
    names = RUNTIMES[metadata.model_info.export_format]
    return ["tensorrt-rtx" if is_rtx and name == "tensorrt" else name for name in names]


def _release(name: str, metadata: ModelMetadata) -> str:
    """`==` and the release that made the model, where it must be that one, or else the one that it was verified with."""
    made_with = metadata.provenance.toolchain.get(name.replace("-", "_")) if name.startswith("tensorrt") else None
    release = made_with or PINS.get(name)
    return f"=={release}" if release else ""


def _sources(root: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in sorted(root.iterdir(), key=lambda item: item.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".py", ".typed")):
            yield prefix + entry.name, entry.read_bytes()
