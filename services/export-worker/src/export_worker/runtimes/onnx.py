"""ONNX models in ONNX Runtime on the CPU."""

from pathlib import Path

import onnxruntime

from contracts.vocabulary import Proof
from export_worker.loaded import Array, Artefact, threads


class OnnxRuntime:
    """One session; a call is one run."""

    proof = Proof.VERIFIED

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.name = f"onnxruntime {onnxruntime.__version__} (CPU)"
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, tensor: Array) -> list[Array]:
        outputs: list[Array] = self.session.run(None, {self.input: tensor})
        return outputs


def open_artefact(artefact: Artefact) -> OnnxRuntime:
    """The exported file in its runtime."""
    return OnnxRuntime(artefact.path)
