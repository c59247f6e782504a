"""TensorRT engines on an NVIDIA GPU; where there is none, the ONNX model that the engine was built from, which proves less."""

import importlib
from typing import Any

import torch

from contracts.vocabulary import Proof
from export_worker.formats.onnx2tensorrt import AHEAD_OF_TIME, FLAVORS
from export_worker.loaded import Array, Artefact, Runtime
from export_worker.runtimes.onnx import OnnxRuntime

RTX = FLAVORS["rtx"].module


class Unexecuted(OnnxRuntime):
    """What an engine was built from, in ONNX Runtime: the engine itself stays `built`."""

    proof = Proof.BUILT

    def __init__(self, artefact: Artefact) -> None:
        if artefact.intermediate is None:
            raise RuntimeError("an engine is built of an ONNX model")
        super().__init__(artefact.intermediate)
        self.name = f"{self.name}: the ONNX model that the engine was built from; the engine itself was not executed"


class EngineRuntime:
    """The engine on the first GPU."""

    proof = Proof.VERIFIED

    def __init__(self, artefact: Artefact) -> None:
        module = RTX if RTX in artefact.toolchain else "tensorrt"
        trt = importlib.import_module(module)
        self.runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = self.runtime.deserialize_cuda_engine(artefact.path.read_bytes())
        if self.engine is None:
            raise RuntimeError(f"{module} cannot load the engine on {torch.cuda.get_device_name()}")
        self.context = self.engine.create_execution_context()
        self.input = artefact.input_spec.name
        self.outputs = [spec.name for spec in artefact.output_specs]
        self.name = f"{module} {trt.__version__} ({torch.cuda.get_device_name()})"

    def __call__(self, tensor: Array) -> list[Array]:
        given = torch.from_numpy(tensor.copy()).cuda()
        if not self.context.set_input_shape(self.input, tuple(given.shape)):
            raise RuntimeError(f"the engine takes no input of {list(given.shape)}")
        made: list[Any] = []
        for name in self.outputs:
            answer = torch.empty(tuple(self.context.get_tensor_shape(name)), dtype=torch.float32, device="cuda")
            self.context.set_tensor_address(name, answer.data_ptr())
            made.append(answer)
        self.context.set_tensor_address(self.input, given.data_ptr())
        stream = torch.cuda.current_stream()
        self.context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return [answer.cpu().numpy() for answer in made]


def open_artefact(artefact: Artefact) -> Runtime:
    """The engine where a GPU can execute it."""
    return EngineRuntime(artefact) if torch.cuda.is_available() and _is_for_this_gpu(artefact) else Unexecuted(artefact)


def _is_for_this_gpu(artefact: Artefact) -> bool:
    """Engines built ahead of time are for some generations of GPUs alone, which need not be the worker's own."""
    major, minor = torch.cuda.get_device_capability()
    return RTX not in artefact.toolchain or f"SM{major}{minor}" in AHEAD_OF_TIME
