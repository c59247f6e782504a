"""What passes between the steps of a run: the loaded source, the converted artefact, and what the source predicts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from contracts.errors import Permanent
from contracts.events.export import ExportRequestedV1
from contracts.model_package import Postprocessing, Preprocessing, TensorSpec
from contracts.vocabulary import ExportFormat, Precision, Proof

Picture = npt.NDArray[np.uint8]
"""RGB, [height, width, 3]."""
Array = npt.NDArray[Any]
Progress = Callable[[float, str], None]
"""Says how much of the running stage is done (0..1) and what is being done."""


class Output(NamedTuple):
    """One tensor that a model answers with: its name, and its dimensions in words."""

    name: str
    format: str


class Found(NamedTuple):
    """One final prediction, in pixels of the picture.

    box        x1 y1 x2 y2; None for a classification
    rotated    cx cy w h and the angle in radians; `box` then encloses it
    keypoints  float32 [K, 3] x y visibility
    mask       bool [height, width]
    """

    class_id: int
    confidence: float
    box: tuple[float, float, float, float] | None = None
    rotated: tuple[float, float, float, float, float] | None = None
    keypoints: npt.NDArray[np.float32] | None = None
    mask: npt.NDArray[np.bool_] | None = None


class SourceRun(NamedTuple):
    """One picture through the source model by its framework's own way.

    `tensor` is what the framework's preprocessing gave to the model, float32 [1, 3, H, W]; `outputs` what the model answered, float32.
    """

    tensor: npt.NDArray[np.float32]
    outputs: tuple[npt.NDArray[np.float32], ...]
    found: tuple[Found, ...]
    milliseconds: float


class Source(Protocol):
    """The trained model as its own framework runs it, its own pre- and post-processing included."""

    def __call__(self, picture: Picture, confidence: float, iou: float) -> SourceRun: ...


class Loaded(Struct, frozen=True, kw_only=True):
    """A checkpoint, ready to be converted.

    module          torch module in eval mode, float32 [N, 3, H, W] (as `preprocessing` makes it) -> one float32 tensor, or several as `outputs`
    preprocessing   what the framework does to a picture, before anything is embedded in the graph
    postprocessing  what turns the module's output into predictions, with the framework's default thresholds
    """

    module: torch.nn.Module
    source: Source
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    outputs: tuple[Output, ...]
    example: torch.Tensor
    classes: tuple[str, ...]
    source_size_bytes: int
    toolchain: dict[str, str]
    stride: int = 1
    """Height and width of an input must be multiples of this."""
    note: str = ""
    """What a reader of the parity report should know about the source."""
    set_dynamic_size: Callable[[], None] | None = None
    """Prepares the module for inputs of any size; None where the module knows no fixed size of its own."""


class Artefact(Struct, frozen=True, kw_only=True):
    """A converted model on disk, with what was read back from its own file.

    graph      the torch module that was converted, pre- and post-processing that travel inside included
    precision  the arithmetic that was asked for
    route      the forms on the way, the source's and its own included
    rewrites   names of the changes that made `graph` convertible
    """

    path: Path
    export_format: ExportFormat
    graph: torch.nn.Module
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    input_spec: TensorSpec
    output_specs: tuple[TensorSpec, ...]
    toolchain: dict[str, str]
    dynamic_batch: bool
    dynamic_size: bool
    batch: int = 1
    """How many pictures the artefact takes at once where the batch is fixed."""
    max_batch: int | None = None
    """The most that it takes at once where the batch is dynamic; None for any number."""
    precision: Precision = Precision.FP32
    route: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    intermediate: Path | None = None
    """The ONNX model that this one was built from, where nothing here may be able to execute this one."""
    portability: str = ""
    """Which machines can load the artefact, where not every one can."""


class Work(Struct, frozen=True, kw_only=True):
    """The state of a run between two steps."""

    request: ExportRequestedV1
    folder: Path
    checkpoint: Path
    progress: Progress
    loaded: Loaded | None = None
    artefact: Artefact | None = None

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def need_loaded(self) -> Loaded:
        if self.loaded is None:
            raise RuntimeError("the plan converts before it loads")
        return self.loaded

    def need_artefact(self) -> Artefact:
        if self.artefact is None:
            raise RuntimeError("the plan verifies before it converts")
        return self.artefact


class Runtime(Protocol):
    """An artefact in the program that its users run it with, or in one that stands in for it.

    `proof` is the word that equal answers of this program earn.
    """

    name: str
    proof: Proof

    def __call__(self, tensor: Array) -> list[Array]:
        """Outputs in the order of `Artefact.output_specs`."""
        ...


def begin(request: ExportRequestedV1, folder: Path, progress: Progress) -> Work:
    """The state before the first step; the checkpoint is the one file or folder in input/, or input/ itself with a config.json.

    Raises Permanent("checkpoint_unreadable") where there is none.
    """
    given = sorted((folder / "input").iterdir())
    if (folder / "input" / "config.json").is_file():
        given = [folder / "input"]
    if len(given) != 1:
        raise Permanent("checkpoint_unreadable", f"one checkpoint is needed, {len(given)} files were fetched.")
    return Work(request=request, folder=folder, checkpoint=given[0], progress=progress)


def as_tuple(answer: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """What a module answers, always as several tensors."""
    return (answer,) if isinstance(answer, torch.Tensor) else tuple(answer)


def threads() -> int:
    """How many threads one model may use here."""
    return int(torch.get_num_threads())
