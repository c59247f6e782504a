"""One program for each format that runs a package's model: a tensor in, outputs by name out.

Each imports its runtime when it is asked for, so that a package needs no other than its own.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import MetadataError, ProcessingError

Array = NDArray[Any]
Run = Callable[[Array], dict[str, Array]]


class Facts(NamedTuple):
    """What metadata.json says of the model's tensors and of how it was made."""

    input_name: str
    output_names: tuple[str, ...]
    options: Mapping[str, Any]


class BackendError(ProcessingError):
    """The model's runtime is not here, or cannot run on this machine; the message says what is needed."""

    def __init__(self, message: str) -> None:
        super().__init__("runtime_unavailable", message)


def onnx_runtime(model: Path, facts: Facts) -> Run:
    """ONNX Runtime on the CPU."""
    onnxruntime = needed("onnxruntime")
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = list(facts.output_names)
    return lambda tensor: by_name(names, session.run(names, {facts.input_name: tensor}))


def torchscript(model: Path, facts: Facts) -> Run:
    """TorchScript on the CPU; its outputs have an order, the metadata names them."""
    torch = needed("torch")
    module = torch.jit.load(str(model), map_location="cpu").eval()

    def run(tensor: Array) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(tensor))
        parts = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return by_name(facts.output_names, [part.numpy() for part in parts])

    return run


def openvino(model: Path, facts: Facts) -> Run:
    """OpenVINO on the CPU, in float32 arithmetic whatever the processor could do with less."""
    compiled = needed("openvino").Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(tensor: Array) -> dict[str, Array]:
        answers = compiled.create_infer_request().infer({0: tensor}, share_inputs=True)
        return by_name(facts.output_names, [answers[port] for port in compiled.outputs])

    return run


def litert(model: Path, facts: Facts) -> Run:
    """LiteRT on the CPU, one call at a time; outputs are known by the names of the model's signature."""
    interpreter = needed("ai_edge_litert.interpreter").Interpreter(model_path=str(model))
    (signature,) = interpreter.get_signature_list()
    runner, lock = interpreter.get_signature_runner(signature), threading.Lock()
    (input_name,) = runner.get_input_details()

    def run(tensor: Array) -> dict[str, Array]:
        with lock:
            return picked(facts.output_names, runner(**{input_name: tensor}))

    return run


def core_ml(model: Path, facts: Facts) -> Run:
    """Core ML on macOS, on the processors that the export asked for."""
    if platform.system() != "Darwin":
        raise BackendError("a Core ML model runs on macOS and iOS; this machine has neither")
    tools = needed("coremltools")
    units = tools.ComputeUnit[str(facts.options.get("compute_units", "all")).upper()]
    loaded = tools.models.MLModel(str(model), compute_units=units)
    return lambda tensor: picked(facts.output_names, loaded.predict({facts.input_name: _as_core_ml_takes(tensor)}))


def _as_core_ml_takes(tensor: Array) -> Any:
    """Pixels as a picture, which is what a model that embeds its preprocessing takes; any other tensor as it is."""
    return needed("PIL.Image").fromarray(tensor[0]) if tensor.dtype == np.uint8 else tensor


def tensor_rt(model: Path, facts: Facts) -> Run:
    """TensorRT (or TensorRT-RTX, where the engine is of that flavour) on the first GPU, one call at a time."""
    trt = needed("tensorrt_rtx" if facts.options.get("flavor") == "rtx" else "tensorrt")
    cuda = needed("cuda.bindings.runtime")
    if cuda.cudaGetDeviceCount()[0] != cuda.cudaError_t.cudaSuccess:
        raise BackendError("a TensorRT engine needs an NVIDIA GPU and its driver, which are not here")
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(model.read_bytes())
    if engine is None:
        raise BackendError(f"TensorRT {trt.__version__} on this GPU cannot read an engine that was built for another")
    context, lock = engine.create_execution_context(), threading.Lock()

    def run(tensor: Array) -> dict[str, Array]:
        with lock:
            context.set_input_shape(facts.input_name, tensor.shape)
            made = {
                name: np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
                for name in facts.output_names
            }
            _on_gpu(cuda, context, facts.input_name, np.ascontiguousarray(tensor), made)
        return made

    return run


def _on_gpu(cuda: Any, context: Any, input_name: str, tensor: Array, outputs: Mapping[str, Array]) -> None:
    """Copy in, execute, copy out."""
    places: dict[str, int] = {}
    to_gpu, to_host = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
    try:
        for name, array in {input_name: tensor, **outputs}.items():
            places[name] = _checked(cuda, cuda.cudaMalloc(max(array.nbytes, 1)))
            context.set_tensor_address(name, places[name])
        _checked(cuda, cuda.cudaMemcpy(places[input_name], tensor.ctypes.data, tensor.nbytes, to_gpu))
        if not context.execute_async_v3(0):
            raise BackendError("TensorRT could not run the model")
        for name, array in outputs.items():
            _checked(cuda, cuda.cudaMemcpy(array.ctypes.data, places[name], array.nbytes, to_host))
    finally:
        for place in places.values():
            cuda.cudaFree(place)


def _checked(cuda: Any, answer: tuple[Any, ...]) -> Any:
    if answer[0] != cuda.cudaError_t.cudaSuccess:
        raise BackendError(f"CUDA answered {answer[0]}")
    return answer[1] if len(answer) > 1 else None


def needed(name: str) -> Any:
    """The runtime's module, or BackendError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise BackendError(f"{name} cannot be imported ({error}); install runtimes/python/requirements.txt") from error


def by_name(names: tuple[str, ...] | list[str], outputs: list[Array]) -> dict[str, Array]:
    """Outputs that come in the order of the metadata."""
    if len(outputs) != len(names):
        raise MetadataError("output_spec", f"names {len(names)} outputs, the model gave {len(outputs)}")
    return dict(zip(names, outputs, strict=True))


def picked(names: tuple[str, ...], outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs that come by name, in any order."""
    missing = [name for name in names if name not in outputs]
    if missing:
        raise MetadataError("output_spec", f"names {missing[0]!r}, the model gave {sorted(outputs)}")
    return {name: np.asarray(outputs[name]) for name in names}


BACKENDS: Mapping[str, Callable[[Path, Facts], Run]] = {
    "onnx": onnx_runtime,
    "torchscript": torchscript,
    "openvino": openvino,
    "tflite": litert,
    "coreml": core_ml,
    "tensorrt": tensor_rt,
}
