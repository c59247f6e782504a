"""What decoders share: the facts of a model that they read, what they give back, and checks of an output's shape."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processing.errors import MetadataError
from processing.kernels import Size

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


class Kind(StrEnum):
    """What a prediction is: a class of the whole picture, an object with a box, or all pixels of a class."""

    CLASSES = "classes"
    OBJECTS = "objects"
    REGIONS = "regions"


class Model(NamedTuple):
    """What a decoder has to know beside the outputs."""

    classes: int
    keypoint_shape: tuple[int, int] | None
    """Points of an object, and numbers per point."""
    input_size: Size


class Candidates(NamedTuple):
    """Candidates above the confidence, in input pixels; the first axis of all but `prototypes` is that of the candidates."""

    boxes: Floats
    """x1 y1 x2 y2, [N, 4]; of rotated boxes cx cy w h angle, [N, 5]."""
    scores: Floats
    classes: Indices
    keypoints: Floats | None = None
    """[N, K, 3]: x, y, confidence (1 where the model tells none)."""
    coefficients: Floats | None = None
    """[N, M], of the masks."""
    prototypes: Floats | None = None
    """[M, h, w], of all masks."""

    def take(self, rows: Indices) -> Candidates:
        """Those candidates alone, in that order."""
        return Candidates(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            None if self.keypoints is None else self.keypoints[rows],
            None if self.coefficients is None else self.coefficients[rows],
            self.prototypes,
        )


class Decoder(NamedTuple):
    """One row of the table: the kind of prediction, how many outputs are read, and traits that metadata is checked for."""

    kind: Kind
    decode: Callable[..., Any]
    outputs: int = 1
    rotated: bool = False
    masks: bool = False
    keypoints: bool = False


def single(output: NDArray[np.generic], dimensions: int) -> Floats:
    """The only picture's output as float32; raises MetadataError for another number of axes or pictures."""
    if output.ndim != dimensions or output.shape[0] != 1:
        raise wrong(f"the output's shape is {output.shape}, not {dimensions}-D of batch 1")
    return np.asarray(output[0], dtype=np.float32)


def wrong(message: str) -> MetadataError:
    """The error for outputs that are not those of the decoder."""
    return MetadataError("postprocessing.decoder", message)


def corners(centred: Floats) -> Floats:
    """cx cy w h, [N, 4], to x1 y1 x2 y2."""
    half = centred[:, 2:] / np.float32(2)
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
