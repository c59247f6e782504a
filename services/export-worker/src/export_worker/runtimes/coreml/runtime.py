"""A stored Core ML model, run by Apple's runtime where there is one and by the reference evaluator everywhere else."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from contracts.vocabulary import Proof
from export_worker.formats.coreml_package import unpack
from export_worker.loaded import Array, Artefact, Runtime
from export_worker.runtimes.coreml.program import Program
from export_worker.runtimes.coreml.toolchain import ct


class Evaluator:
    """The saved program, run operator by operator with torch."""

    proof = Proof.EVALUATED

    def __init__(self, artefact: Artefact) -> None:
        self.name = f"reference evaluator of ML programs (torch {torch.__version__}; float16 is computed in float32 and rounded)"
        with tempfile.TemporaryDirectory(dir=artefact.path.parent) as folder:
            self.program = Program(unpack(artefact.path, Path(folder)))
        self._input, self._outputs = artefact.input_spec, [spec.name for spec in artefact.output_specs]

    def given(self, tensor: Array) -> dict[str, torch.Tensor]:
        """The program's input: a picture reaches it as planes of 0 to 255."""
        values = torch.from_numpy(np.ascontiguousarray(tensor)).float()
        return {self._input.name: values.permute(0, 3, 1, 2) if self._input.dtype == "uint8" else values}

    def __call__(self, tensor: Array) -> list[Array]:
        made = self.program(self.given(tensor))
        return [made[name].numpy() for name in self._outputs]


class AppleRuntime:
    """Core ML itself, on macOS."""

    proof = Proof.VERIFIED

    def __init__(self, artefact: Artefact) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.model: Any = ct.models.MLModel(str(unpack(artefact.path, Path(self._folder.name))))
        self.name = f"Core ML (macOS, coremltools {ct.__version__})"
        self._input, self._outputs = artefact.input_spec, [spec.name for spec in artefact.output_specs]

    def __call__(self, tensor: Array) -> list[Array]:
        given = Image.fromarray(tensor[0]) if self._input.dtype == "uint8" else tensor
        made = self.model.predict({self._input.name: given})
        return [np.asarray(made[name], dtype=np.float32) for name in self._outputs]


def open_artefact(artefact: Artefact) -> Runtime:
    """The exported file in what this system runs it with; raises as `Program` does."""
    return AppleRuntime(artefact) if sys.platform == "darwin" else Evaluator(artefact)
