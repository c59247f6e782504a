"""torch module to LiteRT's flatbuffer by litert-torch's own passes, with the module's paths as the names of its tensors.

`litert_torch.convert` runs the same passes; they are called one by one here (the release is pinned) so that names can be given
between them, and a failure can be laid to the operator and the module at fault.
"""

import gc
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from litert_torch._config import config
from litert_torch._convert import core, litert_converter
from litert_torch._convert.signature import Signature

from contracts.errors import Permanent
from export_worker.formats.constants import fold_constants, without_float64
from export_worker.formats.tflite_foresight import OperatorMissing, module_of
from export_worker.frameworks.checkpoints import error_line
from export_worker.loaded import as_tuple

INPUT = "images"
SIGNATURE = "serving_default"
EXECUTING = re.compile(r"target=torch\.ops\.([\w.]+)\]")
LEGALISE = re.compile(r"failed to legalize operation '([\w.]+)'")
PLACE = re.compile(r"loc\(\"([^\"]*)\"")


class Named(torch.nn.Module):
    """A graph whose outputs carry their names, which the converter writes into the signature."""

    def __init__(self, graph: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.named, self.names = graph, tuple(names)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, as_tuple(self.named(images)), strict=True))


class Lowered(NamedTuple):
    """The model, and whether it computes in float32 what torch computes in float64, which LiteRT lacks."""

    model: bytes
    narrowed: bool


def lower(
    graph: torch.nn.Module, names: Sequence[str], example: torch.Tensor, progress: Callable[[float], None]
) -> Lowered:
    """The flatbuffer; its tensors are called by the paths of the modules of `graph` that made them, whose weights become contiguous.

    `progress` hears fractions from 0 to 1. Raises Permanent("unsupported_operator") or Permanent("conversion_failed").
    """
    for tensor in (*graph.parameters(), *graph.buffers()):
        # litert-torch reads weights of another layout, such as channels-last, from memory that is no longer theirs
        tensor.data = tensor.data.contiguous()
    named = Named(graph, names).eval()
    signature = Signature(SIGNATURE, named, (), {INPUT: example})
    with _quietly():
        try:
            program = core.export_torch_signature(signature)
        except Exception as error:  # the tracer raises whatever the model's code stumbles over
            raise Permanent("conversion_failed", f"torch.export: {error_line(error)}") from error
        progress(0.3)
        try:
            fold_constants(program)
            narrowed = without_float64(program)
            program = core._run_convert_passes(program)
            name_by_module(program)
            progress(0.5)
            made = litert_converter.exported_programs_to_flatbuffer([program], [signature])
            return Lowered(bytes(made.to_bytes()), narrowed)
        except Exception as error:  # so do the lowerings, and the compiler's passes with a ValueError
            raise _failure(error, program) from error


def rehearse() -> None:
    """One small model: the first conversion of a process takes two seconds longer than the next."""
    lower(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()),
        ["out"],
        torch.zeros(1, 3, 8, 8),
        lambda done: None,
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """No gradients, no reports of progress, and no collections of garbage, which cost a tenth of the time and find nothing."""
    shown, collected = config.show_progress, gc.isenabled()
    config.show_progress = False
    gc.disable()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.show_progress = shown
        if collected:
            gc.enable()


def name_by_module(program: torch.export.ExportedProgram) -> None:
    """Operators are called by the path of their module instead of by classes, and know no file of this machine."""
    for node in program.graph.nodes:
        node.meta["stack_trace"] = None
        if node.meta.get("nn_module_stack"):
            node.meta["nn_module_stack"] = {"module": ("", _inner(module_of(node)))}


def _inner(path: str) -> str:
    """A path inside Named as a path inside its graph."""
    return path.removeprefix("named").removeprefix(".")


def _failure(error: Exception, program: torch.export.ExportedProgram) -> Permanent:
    text = str(error)
    if executing := EXECUTING.search(text):
        operator = executing.group(1).removesuffix(".default")
        return OperatorMissing(operator, _module_of(executing.group(1), program), error_line(error))
    if legalise := LEGALISE.search(text):
        place = PLACE.search(text)
        return OperatorMissing(legalise.group(1), place.group(1).strip(";") if place else "", error_line(error))
    return Permanent("conversion_failed", f"litert-torch: {error_line(error)}")


def _module_of(target: str, program: torch.export.ExportedProgram) -> str:
    """The first module that runs this operator, as `name_by_module` has named it."""
    for node in program.graph.nodes:
        stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
        if str(node.target) == target and stack:
            return str(list(stack.values())[-1][1])
    return ""
