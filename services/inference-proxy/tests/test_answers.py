"""Masks, keypoints and rotated boxes on their way through the proxy, and what they may cost."""

import threading
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from contracts.errors import Permanent
from contracts.model_package import ModelMetadata, TensorSpec
from contracts.vocabulary import Decoder
from inference_proxy import data_plane
from inference_proxy.answers import answer
from inference_proxy.bodies import InferRequest, Thresholds
from inference_proxy.data_plane import DataPlane, Inference
from inference_proxy.images import ImageLimits
from inference_proxy.served import COPIES, HEAD_BYTES, LARGEST_ELEMENT, MASKS_BYTES, ServedModel, serve
from processing import masks

USER = UUID(int=7)
LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1_000_000)
ROWS: list[list[float]] = [[16], [16], [8], [8], [0.1], [0.9], [0]]
Arrays = dict[str, np.ndarray[Any, Any]]

TASKS: dict[Decoder, tuple[Arrays, dict[str, object]]] = {
    Decoder.YOLO_V8_SEGMENT: (
        {"output0": np.array([[*ROWS, [1]]], np.float32), "output1": np.ones((1, 1, 8, 8), np.float32)},
        {"mask": {"size": [32, 64], "counts": [24 * 32 + 8, *[16, 16] * 15, 16, 24 * 32 + 8]}},
    ),
    Decoder.YOLO_V8_POSE: (
        {"output0": np.array([[*ROWS, [12], [16], [0.5]]], np.float32)},
        {"keypoints": [[24.0, 16.0, 0.5]]},
    ),
    Decoder.YOLO_V8_OBB: (
        {"output0": np.array([[*ROWS, [0.5]]], np.float32)},
        {"rotated_box": [32.0, 16.0, 16.0, 16.0, 0.5]},
    ),
    Decoder.SEMANTIC_LOGITS: (
        {"output0": np.array([[[[0, 0, 9]], [[9, 9, 0]], [[0, 0, 0]]]], np.float32)},
        {"mask": {"size": [32, 64], "counts": [0, 43 * 32, 21 * 32]}},
    ),
    Decoder.DETR_SIGMOID: (
        {"output0": np.array([[[-9, 3, -9]]], np.float32), "output1": np.full((1, 1, 4), 0.5, np.float32)},
        {},
    ),
}


class Triton:
    """Answers what it was given."""

    def __init__(self, outputs: Arrays) -> None:
        self.outputs = outputs

    async def infer(self, model: ServedModel, tensor: object) -> Arrays:
        return self.outputs


def served(kit: ModuleType, decoder: Decoder, outputs: Arrays) -> ServedModel:
    event = kit.endpoint(model="detector").event
    described: ModelMetadata = event.metadata
    post = replace(described.postprocessing, decoder=decoder, keypoint_shape=(1, 3))
    specs = {
        name: TensorSpec(name=name, shape=(-1, *value.shape[1:]), dtype="float32", format="raw")
        for name, value in outputs.items()
    }
    return serve(replace(event, metadata=replace(described, postprocessing=post, output_spec=specs)), "")


async def infer(kit: ModuleType, decoder: Decoder, outputs: Arrays) -> Inference:
    plane = DataPlane(Triton(outputs), LIMITS, threads=1)

    async def admitted() -> None:
        """Nothing is limited here."""

    try:
        request = InferRequest(image=kit.picture("red", (64, 32)), thresholds=Thresholds())
        return await plane.infer(served(kit, decoder, outputs), request, admitted, user_id=USER)
    finally:
        plane.close()


@pytest.mark.parametrize("decoder", TASKS)
async def test_an_answer_carries_what_the_task_has_and_no_more(kit: ModuleType, decoder: Decoder) -> None:
    outputs, expected = TASKS[decoder]
    found = await infer(kit, decoder, outputs)
    body = msgspec.json.decode(msgspec.json.encode(answer(found, latency_ms=1.234, version=3)))
    assert (body["model_version"], body["image"], body["latency_ms"]) == ("v3", {"width": 64, "height": 32}, 1.23)
    first = body["predictions"][0]
    assert set(first) == {"class", "class_id", "confidence", "bbox", *expected}
    assert first["class"] == "green"
    assert {name: first[name] for name in expected} == expected
    assert len(first["bbox"]) == 4


def test_the_bounds_of_several_outputs_and_of_masks_are_counted(kit: ModuleType) -> None:
    pixels = 32 * 32 * 3 * 4
    for decoder, (outputs, expected) in TASKS.items():
        model = served(kit, decoder, outputs)
        elements = sum(value.size for value in outputs.values())
        assert model.answer_bytes == HEAD_BYTES + LARGEST_ELEMENT * elements
        own = MASKS_BYTES if "mask" in expected else 0
        assert model.memory_bytes == COPIES * (pixels + model.answer_bytes) + own
        assert model.template.outputs == tuple(outputs)


async def test_masks_are_never_made_where_other_requests_wait(kit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the model's answer: a mask is as large as the picture."""
    threads: list[threading.Thread] = []
    real = data_plane._predictions

    def watched(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(data_plane, "_predictions", watched)
    for decoder in (Decoder.SEMANTIC_LOGITS, Decoder.YOLO_V8_OBB):
        await infer(kit, decoder, TASKS[decoder][0])
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


async def test_masks_too_large_to_tell_are_the_caller_s_to_change(
    kit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "MAX_RUNS", 10)
    with pytest.raises(Permanent) as caught:
        await infer(kit, Decoder.YOLO_V8_SEGMENT, TASKS[Decoder.YOLO_V8_SEGMENT][0])
    assert (caught.value.code, caught.value.status) == ("answer_too_large", 422)
    assert "confidence_threshold" in caught.value.message
