"""The one path of a request: decode, preprocess, Triton, postprocess.

Decoding, resizing and NMS run in a small thread pool: cv2 and zlib release the interpreter lock, a large picture never
holds up other requests, and as many pictures are unpacked at once as there are threads, which bounds memory. Users take turns at the threads.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from contracts.errors import FieldError, Permanent, Transient
from inference_proxy.bodies import InferRequest, Thresholds
from inference_proxy.images import ImageLimits, decode, refused
from inference_proxy.room import Room
from inference_proxy.served import ServedModel
from inference_proxy.turns import Turns
from processing.errors import AnswerError, ImageError, MetadataError, OptionError
from processing.geometry import Geometry
from processing.kernels import one_thread_a_picture
from processing.pipeline import Tensor
from processing.predictions import Prediction

Arrays = dict[str, NDArray[np.generic]]

TENSOR_BYTES = 2 << 30
USER_TENSOR_BYTES = 512 << 20
"""Of tensors and answers that all requests, and those of one user, may hold at once."""
SMALL_ANSWER_BYTES = 64 << 10
"""Answers up to this size are read at once: handing them to a thread would take longer. Masks are as large as the picture."""


class InferencePort(Protocol):
    """What the data plane needs of the inference server; see `inference_proxy.triton.TritonClient`."""

    async def infer(self, model: ServedModel, tensor: NDArray[np.generic]) -> Arrays: ...


class Stage(Struct, frozen=True):
    """One step of a request; times in Unix nanoseconds."""

    name: str
    started_ns: int
    ended_ns: int

    @property
    def milliseconds(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e6


class Inference(Struct, frozen=True, kw_only=True):
    """What was found in a picture of `width` x `height` pixels."""

    predictions: list[Prediction]
    width: int
    height: int
    stages: list[Stage]


class _Prepared(Struct, frozen=True):
    tensor: Tensor
    geometry: Geometry
    stages: list[Stage]


class DataPlane:
    """`infer` is safe to call from many tasks; `close` ends the threads."""

    def __init__(self, triton: InferencePort, limits: ImageLimits, *, threads: int) -> None:
        self._triton = triton
        self._limits = limits
        self._threads = Turns(threads, "picture")
        self._room = Room(TENSOR_BYTES, USER_TENSOR_BYTES)
        one_thread_a_picture()

    def close(self) -> None:
        self._threads.close()

    async def infer(
        self, model: ServedModel, request: InferRequest, admitted: Callable[[], Awaitable[None]], *, user_id: UUID
    ) -> Inference:
        """Predictions for one picture of this user's.

        `admitted` is awaited before the model is asked, while permits were fetched in parallel with the decoding. Raises
        Permanent for the picture or a threshold, Transient for the inference server, and what `admitted` raises.
        """
        check_thresholds(model, request.thresholds)
        with self._room.hold(user_id, model.memory_bytes):
            prepared = await self._threads.run(user_id, self._prepare, model, request.image)
            await admitted()
            asked = time.time_ns()
            outputs = await self._triton.infer(model, prepared.tensor)
            answered = time.time_ns()
            if not model.has_masks and sum(output.nbytes for output in outputs.values()) <= SMALL_ANSWER_BYTES:
                predictions = _predictions(model, outputs, prepared.geometry, request.thresholds)
            else:
                predictions = await self._threads.run(
                    user_id, _predictions, model, outputs, prepared.geometry, request.thresholds
                )
        stages = [Stage("triton", asked, answered), Stage("postprocess", answered, time.time_ns())]
        height, width = prepared.geometry.source
        return Inference(predictions=predictions, width=width, height=height, stages=prepared.stages + stages)

    def _prepare(self, model: ServedModel, image: bytes) -> _Prepared:
        started = time.time_ns()
        pixels = decode(image, self._limits, apply_orientation=model.pipeline.format.exif)
        decoded = time.time_ns()
        try:
            tensor, geometry = model.pipeline.preprocess(pixels)
        except ImageError as error:
            raise refused(error.code, str(error)) from error
        stages = [Stage("decode", started, decoded), Stage("preprocess", decoded, time.time_ns())]
        return _Prepared(tensor, geometry, stages)


def _predictions(model: ServedModel, outputs: Arrays, geometry: Geometry, thresholds: Thresholds) -> list[Prediction]:
    try:
        return model.pipeline.postprocess(
            outputs, geometry, confidence=thresholds.confidence_threshold, iou=thresholds.iou_threshold
        )
    except OptionError as error:
        raise Permanent("unsupported", str(error), fields=(FieldError(error.field, str(error)),)) from error
    except AnswerError as error:
        raise Permanent("answer_too_large", f"What was found cannot be told: {error}.") from error
    except MetadataError as error:
        raise Transient("upstream_failed", "The model's output is not what its metadata says.") from error


def check_thresholds(model: ServedModel, thresholds: Thresholds) -> None:
    """Refuse by name what the model cannot do; Permanent("unsupported") with what it can.

    A graph that suppresses by itself has dropped everything below its own confidence and above its own IoU for ever.
    """
    post = model.pipeline.post
    confidence, iou = thresholds.confidence_threshold, thresholds.iou_threshold
    if iou is not None and not post.detects:
        raise _unsupported("iou_threshold", "is for models that find objects", "Leave it out.")
    if not post.nms_embedded:
        return
    if confidence is not None and confidence < post.confidence:
        raise _unsupported(
            "confidence_threshold",
            f"{confidence:g} is below {post.confidence:g}, which is built into this model's graph",
            f"Ask for {post.confidence:g} or more, or export with NMS outside the graph.",
        )
    if iou is not None and iou > post.iou:
        raise _unsupported(
            "iou_threshold",
            f"{iou:g} is above {post.iou:g}, which is built into this model's graph",
            f"Ask for {post.iou:g} or less, or export with NMS outside the graph.",
        )


def _unsupported(field: str, message: str, hint: str) -> Permanent:
    return Permanent("unsupported", f"{field}: {message}.", hint=hint, fields=(FieldError(field, message),))
